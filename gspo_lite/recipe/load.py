"""Makes a checked recipe of YAML and `--set`, or one error with every problem, its place and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gspo_lite.errors import Place, RecipeError
from gspo_lite.recipe.explain import SHOWN, dotted, explained
from gspo_lite.recipe.foreign.telling import own_source
from gspo_lite.recipe.paths import check_paths
from gspo_lite.recipe.problem import Problem
from gspo_lite.recipe.schema import Recipe
from gspo_lite.recipe.shipped import find_recipe
from gspo_lite.recipe.source import Source, parse
from gspo_lite.system import run_folder
from gspo_lite.system.redaction import note_values


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe that passed every check, its file, and the warnings about it."""

    recipe: Recipe
    path: Path
    warnings: list[str] = field(default_factory=list)


def load_checked(
    reference: str,
    overrides: Sequence[str],
    checks: Sequence[Callable[[Recipe], list[Problem]]],
    *,
    output: str | None = None,
    allow_outside: bool = False,
) -> LoadedRecipe:
    """Read, override and check a recipe.

    Args:
        reference: path of a recipe, or name of one that is installed with the package.
        overrides: `a.b=value` with the value in YAML, as on the command line after `--set`.
        checks: rules between fields, applied once every field is valid.
        output: the run folder, instead of the recipe's `output.dir`.
        allow_outside: let the file name paths outside its own folder and the current one. A run folder's own recipe may
            name a model and data anywhere, but no code.

    Raises:
        RecipeError: lists every problem that was found.
    """
    path = find_recipe(reference)
    source = own_source(path)
    for override in overrides:
        apply_override(source, override)
    if output is not None:
        put(source, ("output", "dir"), output, "--output")
    note_values(source.values)
    try:
        recipe = Recipe.model_validate(source.values)
    except ValidationError as error:
        wrong = {
            f"{source.where(place)}: `{dotted(place)}`: {message}" for place, message in explained(error, source.values)
        }
        raise RecipeError(sorted(wrong, key=line_of)) from None
    found = [problem for check in checks for problem in check(recipe)]
    if not allow_outside:
        of_run = path.name == run_folder.RECIPE and run_folder.is_run(path.parent)
        outside = check_paths(recipe, path.parent, of_run=of_run)
        found += [p for p in outside if source.where(p.place).startswith(str(path))]
    lines = [f"{source.where(p.place)}: `{dotted(p.place)}`: {p.message}" for p in found if p.severity == "error"]
    if lines:
        raise RecipeError(sorted(lines, key=line_of))
    return LoadedRecipe(recipe, path, [f"`{dotted(p.place)}`: {p.message}" for p in found])


def apply_override(source: Source, override: str) -> None:
    """Set the value of one `a.b=value` in the recipe."""
    name, separator, text = override.partition("=")
    spot = f"--set {override[:SHOWN]}"
    if not separator or not name.strip():
        raise RecipeError([f"{spot}: is not of the form `key.key=value`"])
    value, _ = parse(text, spot)
    put(source, tuple(int(part) if part.isdigit() else part for part in name.strip().split(".")), value, spot)


def put(source: Source, place: Place, value: Any, spot: str) -> None:
    """Set one value, creating the mappings on its path, and note where it came from."""
    holder: Any = source.values
    key: Any
    for depth, key in enumerate(place[:-1]):
        inner = place[: depth + 1]
        if isinstance(holder, dict) and isinstance(key, str):
            if holder.get(key) is None:
                holder[key] = {}
                source.places[inner] = spot
        elif not (isinstance(holder, list) and isinstance(key, int) and key < len(holder)):
            raise RecipeError([f"{spot}: there is no `{dotted(inner)}` in the recipe"])
        holder = holder[key]
    last: Any = place[-1]
    if (isinstance(holder, list) and isinstance(last, int) and last < len(holder)) or isinstance(holder, dict):
        holder[last] = value
    else:
        raise RecipeError([f"{spot}: `{dotted(place[:-1])}` holds a {type(holder).__name__}, which has no `{last}`"])
    for old in [old for old in source.places if old[: len(place)] == place]:
        del source.places[old]
    source.places[place] = spot


def line_of(problem: str) -> tuple[int, str]:
    """Return a sorting key: problems of the file by line, then the others."""
    line = problem.split(": ", 1)[0].rsplit(":", 1)[-1]
    return (int(line) if line.isdigit() else 10**9, problem)
