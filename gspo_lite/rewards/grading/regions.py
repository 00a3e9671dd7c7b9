"""Reads regions of the real numbers: intervals, inequalities, unions, and all numbers except some.

Texts are spelled (`spelling.spell`). Must not know when two regions are the same, which `answers.py` decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gspo_lite.rewards.grading.numbers import read_plain
from gspo_lite.rewards.grading.shapes import COMMA, RELATION, SEPARATOR, VARIABLE, Bracketed, signed, split
from gspo_lite.rewards.grading.spelling import squeezed

REAL = r"(?:\\mathbb\{R\}|(?:the set of )?(?:all )?(?:the )?(?:reals|real numbers|real|R(?![a-z])))"
REALS = re.compile(rf"{REAL}|(?:{VARIABLE} ?\\in ?)?\\mathbb\{{R\}}|\( ?- ?\\infty ?, ?\+? ?\\infty ?\)")
BUILDER = re.compile(rf"\\\{{ ?({VARIABLE})(?: ?\\in ?\\mathbb\{{R\}})? ?(?:\||\\mid(?![a-z])|:) ?(.*)\\\}}")
BUT = re.compile(
    rf"(?:({VARIABLE}) ?\\in ?)?{REAL} ?(?:\\setminus|-|except(?: for)?|other than|excluding|without|,|with|where"
    rf"|such that) ?(?:({VARIABLE}) ?(?:\\neq|=) ?)?(.+)"
)
UNEQUAL = re.compile(rf"({VARIABLE}) ?\\neq ?")
TURNED = re.compile(rf"([^,;=]+?) ?\\neq ?({VARIABLE})")
MEMBER = re.compile(rf"({VARIABLE}) ?\\in(?![a-z])")
MODULUS = re.compile(rf"(?:\||\\[lr]?vert ?)({VARIABLE})(?:\||\\[lr]?vert ?) ?(<|\\le(?![a-z])) ?(.+)")
BOTH = re.compile(r",? and |\\land(?![a-z])|,")


@dataclass(frozen=True)
class Region:
    """The numbers between two bounds, from an interval or an inequality."""

    lower: str
    upper: str
    brackets: str
    variable: str | None


def region_of(text: str) -> Region | None:
    """Return the region of an interval or of inequalities in one variable; None for other texts."""
    if text != "R" and REALS.fullmatch(text):
        return Region("-\\infty", "\\infty", "()", None)
    built = BUILDER.fullmatch(text)
    text = built[2] if built else text
    bracketed = Bracketed.read(text)
    if bracketed is not None and len(bracketed.parts) == 2 and "{" not in bracketed.brackets:
        member = MEMBER.match(text)
        lower, upper = bracketed.parts
        return Region(lower, upper, bracketed.brackets, squeezed(member[1]) if member else None)
    modulus = MODULUS.fullmatch(text)
    if modulus:
        return bounds(f"-({modulus[3]})", modulus[3], [modulus[2] != "<"] * 2, modulus[1])
    return from_inequality(text) or overlap(split(text, BOTH))


def from_inequality(text: str) -> Region | None:
    """Return the region of one inequality, which may have a bound on each side; None for other texts."""
    if len(split(text, COMMA)) > 1:
        return None
    signs, sides = RELATION.findall(text), [side.strip() for side in RELATION.split(text)]
    if signs and all(sign in (">", "\\ge") for sign in signs):  # read from the smaller side
        sides, signs = sides[::-1], [{">": "<", "\\ge": "\\le"}[sign] for sign in signs[::-1]]
    if any(sign in (">", "\\ge") for sign in signs):
        return None
    closed = [sign == "\\le" for sign in signs]
    if len(sides) == 3 and re.fullmatch(VARIABLE, sides[1]):
        return bounds(sides[0], sides[2], closed, sides[1])
    if len(sides) == 2 and re.fullmatch(VARIABLE, sides[0]):
        return bounds("-\\infty", sides[1], [False, *closed], sides[0])
    if len(sides) == 2 and re.fullmatch(VARIABLE, sides[1]):
        return bounds(sides[0], "\\infty", [*closed, False], sides[1])
    return None


def overlap(parts: Sequence[str]) -> Region | None:
    """Return the region between a lower and an upper bound that are given apart; None if there is no such region."""
    both = [from_inequality(part) for part in parts] if len(parts) == 2 else []
    low = next((one for one in both if one and one.upper == "\\infty"), None)
    high = next((one for one in both if one and one.lower == "-\\infty"), None)
    if low is None or high is None or low.variable != high.variable:
        return None
    ends = read_plain(low.lower), read_plain(high.upper)
    if ends[0] is None or ends[1] is None or ends[0].value >= ends[1].value:
        return None
    return Region(low.lower, high.upper, low.brackets[0] + high.brackets[1], low.variable)


def bounds(lower: str, upper: str, closed: list[bool], variable: str) -> Region:
    """Return a region with the brackets that say whether its ends belong to it."""
    return Region(lower, upper, "(["[closed[0]] + ")]"[closed[1]], squeezed(variable))


@dataclass(frozen=True)
class AllBut:
    """All real numbers except some."""

    left_out: list[str]
    variable: str | None


def all_but(text: str) -> AllBut | None:
    """Return which numbers alone are left out: x \\neq 2, R without {2}, two open rays; None for other texts."""
    built = BUILDER.fullmatch(text)
    text = built[2] if built else text
    except_for = BUT.fullmatch(text)
    if except_for:
        variable = except_for[1] or except_for[2]
        inner = UNEQUAL.sub("", except_for[3])
        bracketed = Bracketed.read(inner)
        numbers = bracketed.parts if bracketed and bracketed.brackets == "{}" else split(inner, SEPARATOR)
        return AllBut(signed(numbers), squeezed(variable) if variable else None)
    parts = split(text, SEPARATOR)
    label, turned = UNEQUAL.match(parts[0]), TURNED.fullmatch(text)
    if turned:  # 2 \\neq x
        return AllBut(signed([turned[1]]), squeezed(turned[2]))
    if label:
        return AllBut(signed([UNEQUAL.sub("", part) for part in parts]), squeezed(label[1]))
    return between_rays([region_of(part) for part in parts]) if len(parts) > 1 else None


def between_rays(regions: Sequence[Region | None]) -> AllBut | None:
    """Return the points between open intervals that cover everything else; None if there are other gaps."""
    known = [region for region in regions if region is not None]
    if len(known) != len(regions) or any(region.brackets != "()" for region in known):
        return None
    ends = ["-\\infty", *(region.upper for region in known)]
    if [squeezed(end) for end in ends[:-1]] != [squeezed(region.lower) for region in known]:
        return None
    return AllBut(ends[1:-1], known[0].variable) if squeezed(ends[-1]).lstrip("+") == "\\infty" else None


def unfolded(text: str) -> str:
    """Return the union that a text describes as a set of all x with a property, or as the outside of an interval."""
    built = BUILDER.fullmatch(text)
    text = built[2] if built else text
    except_for = BUT.fullmatch(text)
    region = region_of(except_for[3]) if except_for else None
    if region is None or region.variable:
        return text
    upper, lower = ")]"[region.brackets[0] == "("], "(["[region.brackets[1] == ")"]
    return f"(-\\infty,{region.lower}{upper} \\cup {lower}{region.upper},\\infty)"


def contradictory(text: str) -> bool:
    """Return whether a text demands inequalities at once that `region_of` finds no common region for."""
    return (
        bool(RELATION.search(text) and re.search(r" and |\\land(?![a-z])", text)) and overlap(split(text, BOTH)) is None
    )
