"""Translates the configuration of another trainer to a recipe that `check` accepts, and knows what became of each key.

What the file does not say is chosen; a value that a rule of recipes refuses is left behind with the rule's own reason,
and chosen anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gspo_lite.errors import Place, RecipeError
from gspo_lite.recipe.explain import MISSING, dotted, explained
from gspo_lite.recipe.foreign.carry import carry_all
from gspo_lite.recipe.foreign.choose import choose_all
from gspo_lite.recipe.foreign.draft import Draft
from gspo_lite.recipe.foreign.settings import Setting, read_settings
from gspo_lite.recipe.problem import Problem
from gspo_lite.recipe.schema import Recipe

Check = Callable[[Recipe], list[Problem]]


@dataclass(frozen=True)
class Translation:
    """A recipe in the making that is valid, and the settings that it was made from."""

    path: Path
    settings: list[Setting]
    draft: Draft


def translate(path: Path, checks: Sequence[Check]) -> Translation:
    """Return the recipe that a YAML, JSON or Python file of another trainer describes.

    Args:
        checks: rules between the fields of a recipe, which the result obeys.

    Raises:
        RecipeError: the file cannot be read.
    """
    settings = read_settings(path)
    given: dict[str, Any] = {}
    for setting in settings:
        given.setdefault(setting.key, setting.value)
    draft = Draft(path.parent, given)
    carry_all(draft, settings)
    if not draft.origins:
        raise RecipeError([f"{path}: sets nothing that a recipe has"], "`gspo-lite recipes --init NAME` copies one")
    for place, reason in ill_typed(draft):
        draft.drop(place, reason)
    choose_all(draft, path.stem)
    while problems := problems_of(draft, checks):
        dropped = [draft.drop(place, reason) for place, reason in problems]
        if not any(dropped):
            raise RecipeError([f"{path}: `{place}`: {reason}" for place, reason in problems])
        choose_all(draft, path.stem)
    return Translation(path, settings, draft)


def ill_typed(draft: Draft) -> list[tuple[str, str]]:
    """Return the places whose carried values the schema refuses, each with the reason; what is missing is no matter."""
    values = draft.nested()
    try:
        Recipe.model_validate(values)
    except ValidationError as error:
        return [(named(place, draft), reason) for place, reason in explained(error, values) if reason != MISSING]
    return []


def problems_of(draft: Draft, checks: Sequence[Check]) -> list[tuple[str, str]]:
    """Return the places of a draft that a recipe must not have, each with the reason."""
    values = draft.nested()
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        found = explained(error, values)
    else:
        problems = [problem for check in checks for problem in check(recipe)]
        found = [(problem.place, problem.message) for problem in problems if problem.severity == "error"]
    return [(named(place, draft), reason) for place, reason in found]


def named(place: Place, draft: Draft) -> str:
    """Return a place as a draft has it, in which a reward is known by its name."""
    if place[0] == "rewards" and len(place) > 1 and isinstance(place[1], int) and place[1] < len(draft.rewards):
        return f"rewards.{draft.rewards[place[1]]['name']}"
    return dotted(place)
