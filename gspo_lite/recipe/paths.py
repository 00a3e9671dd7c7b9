"""Refuses paths in a recipe that leave the current folder and the recipe's own, unless its user allows it.

A run folder's own recipe may name a model and data anywhere: it names what the run was made of. Code is another
matter, since a run folder may come from a stranger.
"""

from __future__ import annotations

import os.path
from pathlib import Path

from gspo_lite.errors import Place
from gspo_lite.recipe.problem import Problem
from gspo_lite.recipe.schema import Recipe
from gspo_lite.recipe.tool_settings import environment_place

Named = list[tuple[Place, str | None]]


def check_paths(recipe: Recipe, home: Path, *, of_run: bool = False) -> list[Problem]:
    """Return a problem for each path that leaves both the current folder and the recipe's own folder `home`.

    Args:
        of_run: whether this is the recipe that a run wrote into its folder, whose model and data may lie anywhere.
    """
    named = [*written_or_run(recipe), *([] if of_run else read(recipe))]
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


def read(recipe: Recipe) -> Named:
    """Return what a run only reads, by place: model, adapter and data."""
    model, data = recipe.model, recipe.data
    return [
        (("data", "source"), data.source), (("data", "eval", "source"), data.eval.source),
        (("model", "name"), model.name), (("model", "adapter"), model.adapter),
        (("warmup", "source"), recipe.warmup.source if recipe.warmup else None),
    ]  # fmt: skip


def written_or_run(recipe: Recipe) -> Named:
    """Return the run folder and the files whose code runs: rewards, tools, the data's adapter, a model's own."""
    code: list[tuple[Place, str]] = [(("rewards", i, "name"), one.name) for i, one in enumerate(recipe.rewards)]
    code += [(("tools", i, "name"), one.name) for i, one in enumerate(recipe.tools)]
    code += [(environment_place(name), found) for name, found in recipe.environments.items()]
    code.append((("data", "adapter"), recipe.data.adapter))
    named: Named = [(("output", "dir"), recipe.output.dir)]
    named += [(place, name.rpartition(":")[0]) for place, name in code if ".py:" in name]
    return named + ([(("model", "name"), recipe.model.name)] if recipe.model.trust_remote_code else [])
