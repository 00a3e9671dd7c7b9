"""Refuses paths in a recipe that leave the current folder and the recipe's own, unless its user allows it."""

from __future__ import annotations

import os.path
from pathlib import Path

from gspo_lite.errors import Place
from gspo_lite.recipe.problem import Problem
from gspo_lite.recipe.schema import Recipe


def check_paths(recipe: Recipe, home: Path) -> list[Problem]:
    """Return a problem for each path that leaves both the current folder and the recipe's own folder `home`."""
    data = recipe.data
    named: list[tuple[Place, str | None]] = [
        (("output", "dir"), recipe.output.dir), (("data", "source"), data.source),
        (("data", "eval", "source"), data.eval.source), (("model", "name"), recipe.model.name),
        (("warmup", "source"), recipe.warmup.source if recipe.warmup else None),
    ]  # fmt: skip
    code: list[tuple[Place, str]] = [(("rewards", i, "name"), one.name) for i, one in enumerate(recipe.rewards)]
    code.append((("data", "adapter"), data.adapter))
    named += [(place, name.rpartition(":")[0]) for place, name in code if ".py:" in name]
    inside = [Path.cwd().resolve(), home.resolve()]
    found = []
    for place, name in named:
        if name is None:
            continue
        path = Path(os.path.expanduser(name))  # Path.expanduser raises for an unknown user
        target = path.resolve()
        there = os.path.exists(path) or set("*?[") & set(name)  # or a pattern of files
        if (there or place[0] == "output") and not any(target.is_relative_to(root) for root in inside):
            message = f"`{name}` is outside the current folder and the recipe's own. Add --allow-outside, or give the"
            found.append(Problem(place, f"{message} path with --set"))
    return found
