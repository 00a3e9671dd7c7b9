"""The system message that a chat begins with: the one that every prompt of the training began with."""

from __future__ import annotations

from pathlib import Path

from gspo_lite.data.prompts import shared_system, system_message
from gspo_lite.data.sources import load_problems
from gspo_lite.errors import DataError, MachineError, first_line
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system import run_folder
from gspo_lite.system.imports import is_code
from gspo_lite.system.say import say

SHOWN = 100  # characters


def trained_system(recipe: Recipe, run: Path | None) -> str | None:
    """Return the system message of the training prompts; that of the recipe where they differ or are not known.

    Args:
        run: the run folder, in which a run records the message; the data is read for one that did not.
    """
    facts = {} if run is None else run_folder.read_json(run / run_folder.ENVIRONMENT)
    recorded = run_folder.SYSTEM_MESSAGE in facts
    found = facts[run_folder.SYSTEM_MESSAGE] if recorded else of_data(recipe)
    if found is None:
        say("note     the training prompts have different system messages; --system TEXT chooses one")
        return system_message(recipe.data)
    return found or None


def of_data(recipe: Recipe) -> str | None:
    """Return what `shared_system` says of the training data, or the recipe's own where that cannot be read."""
    own = system_message(recipe.data) or ""
    if is_code(recipe.data.adapter):  # a chat runs no code of a recipe's
        return own
    try:
        return shared_system(row["prompt"] for row in load_problems(recipe.data).train)
    except (DataError, MachineError) as error:
        say(f"note     the training data cannot be read for its system message: {first_line(error)}")
        return own


def in_short(text: str | None) -> str:
    """Return a system message in one short line."""
    if text is None:
        return "none"
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}..."
