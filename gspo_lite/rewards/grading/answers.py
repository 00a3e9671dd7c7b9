"""Compares two answers part by part: solution sets, tuples, intervals, inequalities, matrices, labels, bases and text.

Owns what makes two shapes the same (`shapes.py` reads them); what a single formula is worth is asked of `leaf`, so
nothing here knows a computer algebra system. Hedging is wrong because its shape is: two parts are not one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from gspo_lite.rewards.grading.numbers import read_plain, same
from gspo_lite.rewards.grading.shapes import (
    LABEL,
    RELATION,
    Bracketed,
    folded,
    has_words,
    is_text,
    labels,
    parts_of,
    region_of,
    rows_of,
    without_label,
    without_unit,
)
from gspo_lite.rewards.grading.spelling import squeezed
from gspo_lite.rewards.grading.units import units_agree

Leaf = Callable[[str, str], bool]

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
    """Whether two spelled answers are the same.

    Args:
        leaf: says whether two single formulas are equal, exactly.
    """
    answer = PREFIX.sub("", answer, count=1) if PREFIX.match(answer) else answer
    if squeezed(answer) == squeezed(gold) and read_plain(gold) is None:
        return True
    if UNSURE.search(answer) and not UNSURE.search(gold):
        return False
    given, wanted = parts_of(answer), parts_of(gold)
    if len(given) == len(wanted):
        variables, others = labels(given), labels(wanted)
        if len(variables) != len(others) and max(len(variables), len(others)) > 1:
            return in_order(given, wanted, leaf)  # x = 1, y = 2 against 1, 2
        return in_any_order(given, wanted, leaf)
    if len(wanted) == 1 or len(given) == 1:
        return same_listing(given, wanted, leaf)
    return False


def same_listing(given: list[str], wanted: list[str], leaf: Leaf) -> bool:
    """Whether a bare listing has the elements of one set, in any order, or of one tuple, in its order."""
    listed, enclosed = (given, wanted[0]) if len(wanted) == 1 else (wanted, given[0])
    bracketed = Bracketed.read(without_label(enclosed))
    if bracketed is None or len(bracketed.parts) != len(listed):
        return False
    if bracketed.brackets == "{}":
        return in_any_order(listed, bracketed.parts, leaf)
    return bracketed.brackets == "()" and in_order([without_label(part) for part in listed], bracketed.parts, leaf)


def in_order(given: Sequence[str], wanted: Sequence[str], leaf: Leaf) -> bool:
    """Whether two lists have the same parts in the same places."""
    return len(given) == len(wanted) and all(same_part(a, g, leaf) for a, g in zip(given, wanted, strict=True))


def in_any_order(given: Sequence[str], wanted: Sequence[str], leaf: Leaf) -> bool:
    """Whether each wanted part has a given part of its own."""
    left = list(given)
    for part in wanted:
        match = next((index for index, one in enumerate(left) if same_part(one, part, leaf)), None)
        if match is None:
            return False
        left.pop(match)
    return not left


def same_part(answer: str, gold: str, leaf: Leaf) -> bool:
    """Whether two single parts are the same, by the first kind that the gold is of."""
    if squeezed(answer) == squeezed(gold):
        return True
    for kind in (same_text, same_matrix, same_region, same_bracketed, same_equation, same_based, same_number):
        verdict = kind(answer, gold, leaf)
        if verdict is not None:
            return verdict
    return same_formula(answer, gold, leaf)


def same_text(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """For a gold in words, whatever the case and punctuation; an answer in words to any other gold is wrong."""
    if is_text(gold):
        return folded(answer) == folded(gold)
    return None


def same_matrix(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Row by row and cell by cell, in round or square brackets."""
    given, wanted = rows_of(without_label(answer)), rows_of(without_label(gold))
    if given is None and wanted is None:
        return None
    if given is None or wanted is None or len(given) != len(wanted):
        return False
    return all(in_order(a, g, leaf) for a, g in zip(given, wanted, strict=True))


def same_bracketed(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """For tuples, intervals and sets: the same brackets, the same elements; only a set has no order."""
    given, wanted = Bracketed.read(without_label(answer)), Bracketed.read(without_label(gold))
    if wanted is None or (len(wanted.parts) == 1 and wanted.brackets != "{}"):
        return None
    if given is None or given.brackets != wanted.brackets:
        return False
    if wanted.brackets == "{}":
        return in_any_order(given.parts, wanted.parts, leaf)
    return in_order(given.parts, wanted.parts, leaf)


def same_region(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """For inequalities and intervals in either form: the same bounds, open or closed alike."""
    given, wanted = region_of(answer), region_of(gold)
    if given is None or wanted is None or (given.variable is None and wanted.variable is None):
        return None
    if given.variable and wanted.variable and given.variable != wanted.variable:
        return False
    return given.brackets == wanted.brackets and in_order(
        [given.lower, given.upper], [wanted.lower, wanted.upper], leaf
    )


def same_equation(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """For assignments and equations; x = 7 is 7, but not y = 7, and every step of 14/2 = 7 has to be right."""
    if "=" not in answer and "=" not in gold:
        return None
    given, wanted = LABEL.match(answer), LABEL.match(gold)
    if given and wanted and squeezed(given[1]) == squeezed(wanted[1]) and "=" not in gold[wanted.end() :]:
        return chain(answer[given.end() :], gold[wanted.end() :], leaf)
    if wanted and "=" not in answer and not RELATION.search(answer):
        return same_part(answer, gold[wanted.end() :], leaf)
    if "=" not in gold:
        return chain(without_label(answer), gold, leaf) if not RELATION.search(gold) else False
    return "=" in answer and leaf(answer, gold)


def chain(steps: str, gold: str, leaf: Leaf) -> bool:
    """Whether every step of `a = b = c` is the gold."""
    return all(same_part(step.strip(), gold, leaf) for step in steps.split("="))


def same_based(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """For numbers in a base: the same digits and base, or the digits alone."""
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
    """For plain numbers, exactly."""
    given, wanted = read_plain(answer), read_plain(gold)
    return same(given, wanted) if given is not None and wanted is not None else None


def same_formula(answer: str, gold: str, leaf: Leaf) -> bool:
    """For single formulas with an optional unit behind; words in a formula's place are wrong."""
    (given, unit), (wanted, other) = without_unit(answer), without_unit(gold)
    if not units_agree(unit, other) or has_words(given):
        return False
    if len(RELATION.findall(given)) != len(RELATION.findall(wanted)) or ("\\neq" in given) != ("\\neq" in wanted):
        return False
    return leaf(given, wanted)
