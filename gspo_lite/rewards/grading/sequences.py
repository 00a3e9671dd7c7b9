"""Reads what is compared in its order and never calculated: ranges and scores, ratios, remainders, strings.

"5-9" -> 5, 9      "(555) 123-4567" -> 555, 123, 4567      "4:6:8" -> 2, 3, 4      "17 R 3" -> 17, 3      "BDAC"
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import gcd, lcm
from typing import NamedTuple

from gspo_lite.rewards.grading.dates import clock_of
from gspo_lite.rewards.grading.numbers import read_plain

NUMBER = r"\d[\d,]*(?:\.\d+)?"
RANGE = re.compile(
    rf"(?:from |between )?([$€£]? ?{NUMBER}[^\d,;]{{0,20}}?) ?(?:-{{1,3}}| to | through | and ) ?"
    rf"([$€£]? ?{NUMBER}.{{0,20}})",
    re.IGNORECASE,
)
GROUPS = re.compile(r"(?=.*[-.(])\+?(?:\(\d+\)|\d+)(?:[- ]{1,2}(?:\(\d+\)|\d+)){2,9}|\d+(?:\.\d+){2,9}")
REMAINDER = re.compile(
    r"(?:quotient(?: is| of|:)? )?(-?\d+),? ?(?:and |with )?(?:a |the )?\(?(?:r\.?|rem\.?|remainder)"
    r"(?: is| of|:| =)? ?(\d+)\)?",
    re.IGNORECASE,
)
ITEM = re.compile(r"\((?:[a-h]|[ivx]{1,4}|\d)\)")
CAPITALS = re.compile(r"[A-Z](?:[A-Z]+|(?:, ?[A-Z])+|(?: ?- ?[A-Z]){2,}|(?: [A-Z]){2,})")


def range_of(text: str) -> tuple[object, ...] | None:
    """Return both ends of a range or a score, or the groups of a longer number; None for other texts."""
    if GROUPS.fullmatch(text):
        return tuple(re.findall(r"\d+", text))
    match = RANGE.fullmatch(text)
    if match is None or (" and " in text.lower() and not text.lower().startswith("between ")):
        return None
    first, last = read_plain(match[1].strip()), read_plain(match[2].strip())
    if first is None or last is None:
        return None
    unit = last.unit or first.unit
    return None if first.unit not in ("", unit) else (first.value, last.value, unit, first.percent or last.percent)


def same_range(given: tuple[object, ...], wanted: tuple[object, ...]) -> bool:
    """Return whether two ranges have the same ends, with the same unit or none."""
    if len(given) != 4 or isinstance(given[0], str) or len(wanted) != 4 or isinstance(wanted[0], str):
        return given == wanted
    return given[:2] == wanted[:2] and ("" in (given[2], wanted[2]) or given[2:] == wanted[2:])


def rises(ends: tuple[object, ...]) -> bool:
    """Return whether the ends are those of a range, from less to more, and not a difference."""
    first, last = ends[:2]
    return isinstance(first, Fraction) and isinstance(last, Fraction) and first < last


class Ratio(NamedTuple):
    """The numbers of a ratio as written and in smallest whole numbers, and whether it reads like a time of day."""

    written: tuple[Fraction, ...]
    smallest: tuple[int, ...]
    like_clock: bool


def ratio_of(text: str) -> Ratio | None:
    """Return the ratio that a text gives with colons or `to`; None for other texts."""
    parts = re.split(r" ?: ?| to ", text)
    plain = [read_plain(part.strip()) for part in parts]
    values = tuple(one.value for one in plain if one is not None and not one.unit and one.value > 0)
    if not 1 < len(values) == len(parts) < 10:
        return None
    shared = lcm(*(value.denominator for value in values))
    whole = [int(value * shared) for value in values]
    return Ratio(values, tuple(value // gcd(*whole) for value in whole), clock_of(text) is not None)


def same_ratio(given: Ratio, wanted: Ratio) -> bool:
    """Return whether two ratios are the same; what may be a time of day is not scaled."""
    return given.written == wanted.written if wanted.like_clock else given.smallest == wanted.smallest


def is_long(ratio: Ratio) -> bool:
    """Return whether a ratio has more than two numbers, so that it is not a quotient."""
    return len(ratio.written) > 2


def items_of(text: str) -> tuple[tuple[str, str], ...] | None:
    """Return the answers to the parts of a question, `(a) 3 (b) 4`, with their marks; None for other texts."""
    marks, answers = ITEM.findall(text), [answer.strip(" ,;") for answer in ITEM.split(text)]
    if len(marks) < 2 or answers[0] or not all(answers[1:]):
        return None
    return tuple(zip(marks, answers[1:], strict=True))


def remainder_of(text: str) -> tuple[str, ...] | None:
    """Return quotient and remainder; None for other texts."""
    match = REMAINDER.fullmatch(text)
    return match.groups() if match else None


def capitals_of(text: str) -> tuple[str, bool] | None:
    """Return capitals in their order, as sides of coins, and whether they stand together; None for other texts."""
    return (re.sub("[^A-Z]", "", text), text.isalpha()) if CAPITALS.fullmatch(text) else None


def same_capitals(given: tuple[str, bool], wanted: tuple[str, bool]) -> bool | None:
    """Return whether two strings of capitals are the same; None for two listings, which may have no order."""
    return given[0] == wanted[0] if given[1] or wanted[1] else None


def is_string(capitals: tuple[str, bool]) -> bool:
    """Return whether capitals stand together and can hardly be a product: HTT, XX, but not AB."""
    return capitals[1] and (len(capitals[0]) > 2 or len(set(capitals[0])) == 1)
