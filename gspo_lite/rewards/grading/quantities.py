"""Reads quantities in one or more units, as `6 ft 2 in` or `two dollars and fifty cents`, and adds them up exactly.

Only units that are counted in each other belong together; a quantity of several kinds is not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from gspo_lite.rewards.grading.numbers import read_plain

# of one kind each: how many of the smallest a unit is
SCALES: list[dict[str, int]] = [
    {"millisecond": 1, "second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000},
    {"month": 1, "year": 12, "decade": 120},
    {"inch": 1, "foot": 12, "yard": 36, "mile": 63360},
    {"millimeter": 1, "centimeter": 10, "decimeter": 100, "meter": 1000, "kilometer": 10**6},
    {"ounce": 1, "pound": 16, "ton": 32000},
    {"milligram": 1, "gram": 1000, "kilogram": 10**6},
    {"milliliter": 1, "centiliter": 10, "deciliter": 100, "liter": 1000},
    {"cup": 1, "pint": 2, "quart": 4, "gallon": 16},
    {"teaspoon": 1, "tablespoon": 3},
    {"cent": 1, "dollar": 100},
    {"penny": 1, "sterling": 100},
    {"arcsecond": 1, "arcminute": 60, "degree": 3600},
]
NUMBER = r"\\frac\{\d+\}\{\d+\}|\d+(?:,\d{3})*(?:\.\d+)?(?: ?\d* ?/ ?\d+| ?\\frac\{\d+\}\{\d+\})?"
PIECE = re.compile(rf"(?:,? ?and |,? ?)([$€£]? ?(?:{NUMBER}) ?(?:(?!and )[a-zA-Z$€£¢]+\.?|°|'|\")?)")
HOURS_AND_M = re.compile(r"(\d ?h(?:rs?|ours?)?,? (?:and )?\d{1,2}) ?m(?![a-z])")
MINUTES, FEET = {"'": "arcminute", '"': "arcsecond"}, {"'": "foot", '"': "inch"}
MOST_PIECES = 5


@dataclass(frozen=True)
class Quantity:
    """A sum of quantities: which scale, how many of its smallest unit, and from how many pieces."""

    scale: int
    total: Fraction
    pieces: int


def quantity_of(text: str) -> Quantity | None:
    """Return a quantity in known units; None for other texts."""
    negative, text = text.startswith("-"), HOURS_AND_M.sub(r"\1 min", text.removeprefix("-").strip())
    pieces: list[str] = []
    position = 0
    while position < len(text):
        match = PIECE.match(text, position)
        if match is None or len(pieces) == MOST_PIECES:
            return None
        pieces.append(match[1].strip())
        position = match.end()
    marks = MINUTES if any("°" in piece for piece in pieces) else FEET
    read = [measured(piece, marks) for piece in pieces]
    sizes = [one for one in read if one is not None]
    if not sizes or len(sizes) != len(read) or len({scale for scale, _, _ in sizes}) > 1:
        return None
    units = [size for _, size, _ in sizes]
    if sorted(set(units), reverse=True) != units:  # from the larger unit to the smaller, each once
        return None
    total = sum((value * size for _, size, value in sizes), Fraction(0))
    return Quantity(sizes[0][0], -total if negative else total, len(sizes))


def measured(piece: str, marks: dict[str, str]) -> tuple[int, int, Fraction] | None:
    """Return the scale of one piece, the size of its unit and its number; None for other units."""
    marked = marks.get(piece[-1:])
    plain = read_plain(piece[:-1] if marked else piece)
    if plain is None or plain.percent or (marked and plain.unit):
        return None
    unit = marked or plain.unit
    return next(((at, scale[unit], plain.value) for at, scale in enumerate(SCALES) if unit in scale), None)


def same_amount(given: Quantity, wanted: Quantity) -> bool:
    """Return whether two quantities are equal."""
    return (given.scale, given.total) == (wanted.scale, wanted.total)


def is_sum(quantity: Quantity) -> bool:
    """Return whether a quantity is written in two units or more."""
    return quantity.pieces > 1
