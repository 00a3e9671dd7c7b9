"""What a reward function may return: N numbers or None in any ordered collection, of Python, numpy or torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Set
from typing import Any

LARGEST = 1e9  # its square still fits float32, in which the variance of a group is computed


def as_values(result: Any) -> list[Any] | None:
    """Return a result as a list of values; None if it is not an ordered collection."""
    values = result.tolist() if hasattr(result, "tolist") else result
    unordered = isinstance(values, str | bytes | Mapping | Set)
    return list(values) if isinstance(values, Collection) and not unordered else None


def as_number(value: Any) -> tuple[float | None, str | None]:
    """Return a value as a number (None for NaN), and what is wrong with it as a text with a `{row}` to fill in."""
    value = scalar(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None, None
    if not isinstance(value, int | float):
        return None, f"{described(value)} for row {{row}}"
    if abs(value) <= LARGEST:
        return float(value), None
    size = f"{value:g}" if isinstance(value, float) else f"an integer of {value.bit_length()} bits"
    return None, f"{size} for row {{row}}, which would swamp or break every other reward"


def scalar(value: Any) -> Any:
    """Return a numpy or torch number as a Python one; anything else unchanged."""
    try:
        return value.item() if hasattr(value, "item") else value
    except (TypeError, ValueError, RuntimeError):  # more than one number
        return value


def described(value: Any) -> str:
    """Describe what a function returned, for a message."""
    return "None" if value is None else f"a {type(value).__name__}"


def remedy(value: Any) -> str | None:
    """Return what to change where a function returned something else than values; None if that is plain."""
    if callable(value):
        return "a function that makes a reward is called with its `options` only: let it take no `**kwargs`"
    return None
