"""Everything that is checked before something heavy is imported: the recipe's fields, its rules and its rewards."""

from __future__ import annotations

from collections.abc import Sequence

from gspo_lite.errors import RecipeError
from gspo_lite.recipe.check import check_recipe
from gspo_lite.recipe.load import LoadedRecipe, dotted, load_checked
from gspo_lite.recipe.schema import Recipe
from gspo_lite.recipe.warmup import check_warmup
from gspo_lite.rewards.registry import check_rewards

CHECKS = (check_recipe, check_warmup, check_rewards)


def load_recipe(
    reference: str, overrides: Sequence[str] = (), *, output: str | None = None, allow_outside: bool = False
) -> LoadedRecipe:
    """Read a recipe, put overrides on it and check it.

    Args:
        reference: path of a recipe, or the name of one that is installed with the package, such as `quickstart`.
        overrides: `a.b=value` with the value in YAML, as on the command line after `--set`.
        output: the run folder, in place of the recipe's `output.dir`.
        allow_outside: let the file name paths outside its own folder and the current one.

    Raises:
        RecipeError: with every problem, its place and what is allowed.
    """
    return load_checked(reference, overrides, CHECKS, output=output, allow_outside=allow_outside)


def refuse(recipe: Recipe) -> None:
    """Check a recipe that was made in Python as one from a file is.

    Raises:
        RecipeError: with every problem.
    """
    problems = [problem for check in CHECKS for problem in check(recipe) if problem.severity == "error"]
    if problems:
        raise RecipeError([f"`{dotted(problem.place)}`: {problem.message}" for problem in problems])
