"""Compares two answers part by part: solution sets, tuples, intervals, inequalities, matrices, labels, bases and text.

Owns when two shapes are the same (`shapes.py` reads them). The caller's `leaf` compares single formulas, so nothing
here knows a computer algebra system. Hedged answers are wrong by their shape: two parts are not one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from gspo_lite.rewards.grading import shapes
from gspo_lite.rewards.grading.numbers import read_plain, same
from gspo_lite.rewards.grading.spelling import squeezed
from gspo_lite.rewards.grading.units import units_agree

Leaf = Callable[[str, str], bool]  # whether two single formulas are equal, exactly

PREFIX = re.compile(
    r"(?:(?:so|thus|hence|therefore),? )?(?:(?:the |my )?(?:final |correct )?(?:answer|result|solution|value)s?"
    r"(?: is| are|:| =| equals)+|it is|it's|there are|there is|=)\s*",
    re.IGNORECASE,
)
UNSURE = re.compile(
    r"[?≈]|\\approx|\\sim(?![a-z])|\b(?:about|approximately|roughly|around|maybe|not|either)\b", re.IGNORECASE
)
BASED = re.compile(r"([0-9A-Fa-f]+) ?(?:_ ?\{? ?(\d{1,2}|two|eight|ten|sixteen) ?\}?|(?:in )?base ?(\d{1,2}))")
BASES = {"two": "2", "eight": "8", "ten": "10", "sixteen": "16"}


def same_answer(answer: str, gold: str, leaf: Leaf) -> bool:
    """Return whether two spelled answers are the same."""
    answer = PREFIX.sub("", answer, count=1) if PREFIX.match(answer) else answer
    if squeezed(answer) == squeezed(gold) and read_plain(gold) is None:
        return True
    if UNSURE.search(answer) and not UNSURE.search(gold):
        return False
    given, wanted = shapes.parts_of(answer), shapes.parts_of(gold)
    if len(given) == len(wanted):
        variables, others = shapes.labels(given), shapes.labels(wanted)
        if len(variables) != len(others) and max(len(variables), len(others)) > 1:
            return in_order(given, wanted, leaf)  # x = 1, y = 2 against 1, 2
        return in_any_order(given, wanted, leaf)
    return (len(wanted) == 1 or len(given) == 1) and same_listing(given, wanted, leaf)


def same_listing(given: list[str], wanted: list[str], leaf: Leaf) -> bool:
    """Return whether a bare listing has the elements of one set, in any order, or of one tuple, in the same order."""
    listed, enclosed = (given, wanted[0]) if len(wanted) == 1 else (wanted, given[0])
    bracketed = shapes.Bracketed.read(enclosed)
    if bracketed is None or len(bracketed.parts) != len(listed):
        return False
    if bracketed.brackets == "{}":
        return in_any_order(listed, bracketed.parts, leaf)
    return bracketed.brackets == "()" and in_order(list(map(shapes.without_label, listed)), bracketed.parts, leaf)


def in_order(given: Sequence[str], wanted: Sequence[str], leaf: Leaf) -> bool:
    """Return whether two lists have the same parts in the same places."""
    return len(given) == len(wanted) and all(same_part(a, g, leaf) for a, g in zip(given, wanted, strict=True))


def in_any_order(given: Sequence[str], wanted: Sequence[str], leaf: Leaf) -> bool:
    """Return whether two lists have the same parts in any order, each matched once."""
    left = list(given)
    for part in wanted:
        match = next((index for index, one in enumerate(left) if same_part(one, part, leaf)), None)
        if match is None:
            return False
        left.pop(match)
    return not left


def same_part(answer: str, gold: str, leaf: Leaf) -> bool:
    """Return whether two single parts are the same, by the first comparison that applies to them."""
    if squeezed(answer) == squeezed(gold):
        return True
    for kind in (same_text, same_matrix, same_region, same_bracketed, same_equation, same_based, same_number):
        verdict = kind(answer, gold, leaf)
        if verdict is not None:
            return verdict
    return same_formula(answer, gold, leaf)


def same_text(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare an answer with a gold in words, ignoring case and punctuation; None for any other gold."""
    return shapes.folded(answer) == shapes.folded(gold) if shapes.is_text(gold) else None


def same_matrix(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare matrices cell by cell, in round or square brackets alike; None without a matrix."""
    given, wanted = shapes.rows_of(answer), shapes.rows_of(gold)
    if given is None and wanted is None:
        return None
    if given is None or wanted is None or len(given) != len(wanted):
        return False
    return all(in_order(a, g, leaf) for a, g in zip(given, wanted, strict=True))


def same_bracketed(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare brackets and elements of tuples, intervals and sets, of which only sets have no order."""
    given, wanted = shapes.Bracketed.read(answer), shapes.Bracketed.read(gold)
    if wanted is None or (len(wanted.parts) == 1 and wanted.brackets != "{}"):
        return None
    if given is None or given.brackets != wanted.brackets:
        return False
    if wanted.brackets == "{}":
        return in_any_order(given.parts, wanted.parts, leaf)
    return in_order(given.parts, wanted.parts, leaf)


def same_region(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare inequalities and intervals, in either form, by their bounds and whether each is open or closed."""
    given, wanted = shapes.region_of(answer), shapes.region_of(gold)
    if given is None or wanted is None or (given.variable is None and wanted.variable is None):
        return None
    if given.variable and wanted.variable and given.variable != wanted.variable:
        return False
    ends, others = [given.lower, given.upper], [wanted.lower, wanted.upper]
    return given.brackets == wanted.brackets and in_order(ends, others, leaf)


def same_equation(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare assignments and equations: x = 7 equals 7 but not y = 7, and every step of 14/2 = 7 must be right."""
    if "=" not in answer and "=" not in gold:
        return None
    given, wanted = shapes.LABEL.match(answer), shapes.LABEL.match(gold)
    if given and wanted and squeezed(given[1]) == squeezed(wanted[1]) and "=" not in gold[wanted.end() :]:
        return chain(answer[given.end() :], gold[wanted.end() :], leaf)
    if wanted and "=" not in answer and not shapes.RELATION.search(answer):
        return same_part(answer, gold[wanted.end() :], leaf)
    if "=" not in gold:
        return chain(shapes.without_label(answer), gold, leaf) if not shapes.RELATION.search(gold) else False
    return "=" in answer and leaf(answer, gold)


def chain(steps: str, gold: str, leaf: Leaf) -> bool:
    """Return whether every step of `a = b = c` equals the gold."""
    return all(same_part(step.strip(), gold, leaf) for step in steps.split("="))


def same_based(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare numbers in a base: digits and base must be the same, or the base may be left out."""
    given, wanted = BASED.fullmatch(answer), BASED.fullmatch(gold)
    if wanted is not None:
        digits = given[1] if given else answer.replace(" ", "")
        return digits.upper() == wanted[1].upper() and (given is None or base_of(given) == base_of(wanted))
    if given is not None:
        return base_of(given) == "10" and same_part(given[1], gold, leaf)
    return None


def base_of(match: re.Match[str]) -> str:
    return BASES.get(match[2] or match[3], match[2] or match[3])


def same_number(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare plain numbers, exactly."""
    given, wanted = read_plain(answer), read_plain(gold)
    return same(given, wanted) if given is not None and wanted is not None else None


def same_formula(answer: str, gold: str, leaf: Leaf) -> bool:
    """Compare single formulas with an optional unit; words in place of a formula are wrong."""
    (given, unit), (wanted, other) = shapes.without_unit(answer), shapes.without_unit(gold)
    if not units_agree(unit, other) or shapes.has_words(given):
        return False
    as_many_signs = len(shapes.RELATION.findall(given)) == len(shapes.RELATION.findall(wanted))
    return as_many_signs and ("\\neq" in given) == ("\\neq" in wanted) and leaf(given, wanted)
