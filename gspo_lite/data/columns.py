"""Reads the columns of a row by name, fills them into a template, and keeps their names apart from those of a call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from gspo_lite.errors import did_you_mean
from gspo_lite.recipe.data_settings import Columns
from gspo_lite.recipe.template import pieces

# Names under which TRL passes something else to a reward or keeps what a row says; `image` is its own for images.
RESERVED = (
    "prompts", "completion", "completions", "completion_ids", "self", "image", "environments", "trainer_state",
    "log_extra", "log_metric",
)  # fmt: skip
NO_COLUMN = "there is no column"
SET_ASIDE = "source_"  # before the name of a column whose name is taken


class Named(NamedTuple):
    """The columns of question and answer."""

    prompt: str
    answer: str


def named(columns: Columns, prompt: str = "prompt", answer: str = "answer") -> Named:
    """Return the columns that a recipe names; where it names none, those that an adapter reads by itself."""
    return Named(columns.prompt or prompt, columns.answer or answer)


def column(row: Mapping[str, Any], name: str) -> Any:
    """Return a column's value; `a.b` is also entry `b` of column `a`, a mapping or JSON text.

    Raises:
        ValueError: there is no such column; the message has the existing ones.
    """
    if name in row:
        return row[name]
    outer, _, inner = name.partition(".")
    if inner and outer in row:
        holder = as_json(row[outer])
        if isinstance(holder, dict):
            return column(holder, inner)
    there = ", ".join(f"`{column}`" for column in row) or "none"
    raise ValueError(f"{NO_COLUMN} `{name}`; the row has {there}{did_you_mean(name, map(str, row))}")


def as_json(value: Any) -> Any:
    """Return the value that a text holds as JSON; anything else unchanged."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def renamed(row: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the row with columns under the names that rewards read."""
    found = {new: column(row, old) for new, old in names.items()}
    return {name: value for name, value in row.items() if name not in names.values()} | found


def unshadowed(others: dict[str, Any]) -> dict[str, Any]:
    """Return the other columns of a row; one that is called as a problem's own parts gets a prefix."""
    return {f"{SET_ASIDE}{name}" if name in ("prompt", "answer") else name: value for name, value in others.items()}


def filled(template: str, row: Mapping[str, Any]) -> str:
    """Return a template of columns in braces with the row's values.

    A line that holds nothing but columns is left out where they are all empty, so that an optional input leaves no gap.

    Raises:
        ValueError: there is no such column.
    """
    lines: list[str] = []
    for line in template.split("\n"):
        parts = [(text, name and written(column(row, name))) for text, name in pieces(line)]
        text = "".join(text + (value or "") for text, value in parts)
        if text.strip() or not any(value is not None for _, value in parts):
            lines.append(text)
        elif lines and not lines[-1].strip():
            lines.pop()  # the empty line that sets it off
    return "\n".join(lines)


def written(value: Any) -> str:
    """Return a value as a template shows it: nothing for a missing one, JSON for lists and mappings."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "" if value is None else str(value)
