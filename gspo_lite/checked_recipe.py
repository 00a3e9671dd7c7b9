"""Everything checked before a heavy import: the fields of a recipe, its rules and its rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gspo_lite.data.adapters import check_adapter, descriptions
from gspo_lite.data.rows import check_sources
from gspo_lite.errors import RecipeError
from gspo_lite.models.adapters import check_continued, following
from gspo_lite.recipe.check import check_recipe
from gspo_lite.recipe.explain import dotted
from gspo_lite.recipe.load import LoadedRecipe, load_checked
from gspo_lite.recipe.problem import Problem
from gspo_lite.recipe.schema import Recipe
from gspo_lite.recipe.warmup import check_warmup
from gspo_lite.rewards.contract.registry import check_rewards, registered
from gspo_lite.system.redaction import MASK, note_values
from gspo_lite.tools.check import check_tools

if TYPE_CHECKING:
    from gspo_lite.recipe.foreign.translate import Translation

CHECKS = (check_recipe, check_warmup, check_adapter, check_tools, check_rewards)  # of what a recipe says
WITH_DATA = (*CHECKS, check_sources, check_continued)


def load_recipe(
    reference: str,
    overrides: Sequence[str] = (),
    *,
    output: str | None = None,
    allow_outside: bool = False,
    with_data: bool = True,
) -> LoadedRecipe:
    """Load a recipe, apply overrides and check it.

    Args:
        reference: path of a recipe, or the name of one installed with the package, such as `quickstart`.
        overrides: `a.b=value` with a YAML value, as after `--set` on the command line.
        output: the run folder, instead of the recipe's `output.dir`.
        allow_outside: allow paths outside the folder of the file and the current folder.
        with_data: refuse local data that is not there, or an adapter to continue; what is done with a trained model
            works without them.

    Raises:
        RecipeError: with every problem, its place and the allowed values.
    """
    checks = WITH_DATA if with_data else CHECKS
    checked = load_checked(reference, overrides, checks, output=output, allow_outside=allow_outside)
    return replace(checked, recipe=following(checked.recipe))


def recipe_from(path: Path) -> Translation:
    """Translate the configuration of another trainer, YAML, JSON or Python, to a recipe that passes every check.

    Raises:
        RecipeError: the file cannot be read, or holds nothing that a recipe knows.
    """
    from gspo_lite.recipe.foreign.translate import translate

    return translate(path, CHECKS)


def refuse(recipe: Recipe) -> None:
    """Raise RecipeError with every problem of a recipe that is about to run, also if it was made in Python."""
    note_values(recipe.model_dump())
    found = [problem for check in (*WITH_DATA, no_masked_secret) for problem in check(recipe)]
    lines = [f"`{dotted(problem.place)}`: {problem.message}" for problem in found if problem.severity == "error"]
    if lines:
        raise RecipeError(lines)


def no_masked_secret(recipe: Recipe) -> list[Problem]:
    """Return a problem for each option whose value is the mask that a run folder has instead of a secret."""
    masked = [(i, key) for i, one in enumerate(recipe.rewards) for key, value in one.options.items() if value == MASK]
    message = f"`{MASK}` replaces a secret in a run folder; provide the secret with --set"
    return [Problem(("rewards", index, "options", key), message) for index, key in masked]


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe, with the names of adapters and rewards for an editor to offer."""
    schema = Recipe.model_json_schema()
    rewards = {name: one.summary for name, one in registered().items()}
    for part, key, known in (("DataSettings", "adapter", descriptions()), ("RewardSettings", "name", rewards)):
        names = [{"const": name, "description": text} for name, text in known.items()]
        schema["$defs"][part]["properties"][key]["anyOf"] = [*names, {"pattern": ":"}]  # or code of the user's
    return schema
