"""Reads the configuration of another trainer as a flat list of settings with the line of each. Knows no meaning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gspo_lite.errors import Place, RecipeError, UsageError
from gspo_lite.recipe.foreign.keys import MAPPINGS, Answer, answer
from gspo_lite.recipe.foreign.python_text import read_python
from gspo_lite.recipe.source import Source, read_source, read_text

SUFFIXES = (".yaml", ".yml", ".json", ".py")
VERL = "actor_rollout_ref"
OURS = {"model", "data", "rewards", "objective"}  # sections that only a recipe has, all together


@dataclass(frozen=True)
class Setting:
    """One key of another trainer's configuration, its value, and its spot: `theirs.yaml:12`."""

    key: str
    value: Any
    where: str


def read_settings(path: Path) -> list[Setting]:
    """Return the settings of a YAML, JSON or Python file.

    Raises:
        UsageError: there is no such file, or it has another suffix.
        RecipeError: it cannot be read; YAML is held to the rules of recipes.
    """
    if not path.is_file():
        raise UsageError(f"there is no file `{path}`")
    if path.suffix not in SUFFIXES:
        raise UsageError(f"`{path}` does not end in {', '.join(SUFFIXES)}")
    if path.suffix != ".py":
        source = read_source(path)
        if source.values.keys() >= OURS:
            raise RecipeError([f"{path}: is a recipe already"], f"gspo-lite check {path}")
        return settings_of(source)
    return [Setting(key, value, f"{path}:{line}") for key, value, line in read_python(read_text(path), str(path))]


def settings_of(source: Source) -> list[Setting]:
    """Return the settings of a mapping, with those of its sections (axolotl's `trl`, for example) one by one.

    Raises:
        RecipeError: it is verl's configuration, which names and counts everything in another way.
    """
    if VERL in source.values:
        message = f"{source.where((VERL,))}: is the configuration of verl, which counts prompts and rollouts instead of"
        message += " completions and steps; it cannot be translated"
        raise RecipeError([message], "`gspo-lite export-config RECIPE --to verl` shows verl's name of every setting")
    return list(flat(source, source.values, ()))


def flat(source: Source, values: dict[str, Any], place: Place) -> list[Setting]:
    """Return the settings below one place."""
    found = []
    for key, value in values.items():
        spot = (*place, key)
        if isinstance(value, dict) and key not in MAPPINGS:
            found += flat(source, value, spot)
        else:
            found.append(Setting(key, value, source.where(spot)))
    return found


def answer_to(setting: Setting) -> Answer | None:
    """Return what becomes of a setting; None if no trainer that we know has its key."""
    if setting.key == "loss_type" and str(setting.value).startswith("gspo"):  # as Unsloth's guides have it
        return Answer("objective.algorithm")
    return answer(setting.key)
