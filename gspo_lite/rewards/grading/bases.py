"""Reads numbers in a base: `1011_2`, `1011 base two`, `(1011)_{two}`, `binary 1011`, `0b1011`, and converts nothing."""

from __future__ import annotations

import re
from typing import NamedTuple

BY_NAME = {"binary": 2, "ternary": 3, "octal": 8, "decimal": 10, "hexadecimal": 16, "hex": 16}
BY_PREFIX = {"0b": 2, "0o": 8, "0x": 16}
DIGITS = r"(-?[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]+)?)"
NAME = "|".join(sorted(BY_NAME, key=len, reverse=True))
FORMS = [
    re.compile(rf"\(?{DIGITS}\)? ?_ ?\{{? ?\(?(?:base )?(\d{{1,2}})\)? ?\}}?"),
    re.compile(rf"{DIGITS},? ?\(?(?:in )?base[ -]?(\d{{1,2}})\)?", re.IGNORECASE),
    re.compile(rf"{DIGITS},? ?\(?(?:in )?(?:a )?({NAME})\)?", re.IGNORECASE),
]
NAMED_FIRST = re.compile(rf"(?:base[ -]?(\d{{1,2}})|({NAME}))[: ] ?{DIGITS}", re.IGNORECASE)
PREFIXED = re.compile(r"(0[box])([0-9A-Fa-f]+)")


class Based(NamedTuple):
    """The digits of a number, without leading zeros, and its base."""

    digits: str
    base: int


def based_of(text: str) -> Based | None:
    """Return a number with its base; None for other texts."""
    prefixed, first = PREFIXED.fullmatch(text), NAMED_FIRST.fullmatch(text)
    if prefixed:
        return Based(digits_of(prefixed[2]), BY_PREFIX[prefixed[1]])
    if first:
        return Based(digits_of(first[3]), int(first[1] or BY_NAME[first[2].lower()]))
    match = next((found for found in (form.fullmatch(text) for form in FORMS) if found), None)
    return Based(digits_of(match[1]), BY_NAME.get(match[2].lower()) or int(match[2])) if match else None


def digits_of(text: str) -> str:
    """Return digits in one case, without spaces and leading zeros."""
    return text.replace(" ", "").upper().lstrip("0") or "0"
