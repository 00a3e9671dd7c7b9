"""Compares two whole answers: what introduces them, hedges, choices, kinds that are not formulas, and their parts.

`parts.py` compares single parts, `kinds.py` what is not a formula at all. Hedged answers are wrong by their shape: two
parts are not one.
"""

from __future__ import annotations

import re

from gspo_lite.rewards.grading import shapes
from gspo_lite.rewards.grading.choices import choice_of
from gspo_lite.rewards.grading.kinds import is_bound, of_another_kind, same_kind
from gspo_lite.rewards.grading.numbers import read_plain
from gspo_lite.rewards.grading.parts import Leaf, in_any_order, in_order, same_part, same_region, same_words
from gspo_lite.rewards.grading.regions import contradictory, unfolded
from gspo_lite.rewards.grading.spelling import squeezed
from gspo_lite.rewards.grading.wording import before_rounding, exactly, is_rough, is_unsure, without_prefix

NO_RATIO = re.compile(r"[,;=|]|\\\{")  # of which a colon can be a part as well
SMALL, USUAL = set("abcd"), set("ABCDE")  # letters that name a choice in any case; e is a number as well
SHORT = 12  # characters of an answer that may name a choice by a small letter


def same_answer(answer: str, gold: str, leaf: Leaf) -> bool:
    """Return whether two spelled answers are the same."""
    if squeezed(gold) in (squeezed(answer), squeezed(without_prefix(answer))) and read_plain(gold) is None:
        return True
    answer = without_prefix(answer)
    if is_unsure(answer) and not is_unsure(gold):
        return False
    if same_words(answer, gold):
        return True
    answer = before_rounding(answer)
    if is_rough(gold):
        answer, gold = exactly(answer), exactly(gold)
    elif is_rough(answer):
        return False
    if contradictory(answer) != contradictory(gold):
        return False
    for whole in (same_choice, lambda *texts: same_kind(*texts[:2]), same_proportion, same_region):
        verdict = whole(answer, gold, leaf)
        if verdict is not None:
            return verdict
    return not of_another_kind(answer, gold) and same_parts(answer, gold, leaf)


def same_choice(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare the letters of two choices, and their texts where both have one; None if the gold names no choice."""
    wanted, given = choice_of(gold.upper() if gold in SMALL else gold), choice_of(answer)
    if wanted is None:
        return None
    given = given or (choice_of(answer.upper()) if len(answer) < SHORT and wanted.letter in USUAL else None)
    if given is None:
        if wanted.text:
            return same_answer(answer, wanted.text, leaf)
        return None
    if given.letter != wanted.letter:
        return False
    return not (given.text and wanted.text) or same_answer(given.text, wanted.text, leaf)


def same_proportion(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare ratios of formulas, 1 : \\sqrt{3} : 2, which may be scaled as a whole; None for other golds."""
    given, wanted = ([part.strip() for part in text.split(":")] for text in (answer, gold))
    if len(wanted) < 2 or not all(wanted) or NO_RATIO.search(gold) or all(map(read_plain, wanted)) or is_bound(gold):
        return None
    if len(given) != len(wanted) or not all(given):
        return False if len(wanted) > 2 else None
    (first, *others), (last, *rest) = given, wanted
    return all(leaf(f"({a})\\cdot ({last})", f"({b})\\cdot ({first})") for a, b in zip(others, rest, strict=True))


def same_parts(answer: str, gold: str, leaf: Leaf) -> bool:
    """Return whether two answers list the same solutions."""
    given, wanted = shapes.parts_of(unfolded(answer)), shapes.parts_of(unfolded(gold))
    values, others = shapes.assignments(given), shapes.assignments(wanted)
    if values and others:
        return values.keys() == others.keys() and all(same_part(values[name], others[name], leaf) for name in others)
    if len(given) == len(wanted):
        variables, named = shapes.labels(given), shapes.labels(wanted)
        if len(variables) != len(named) and max(len(variables), len(named)) > 1:
            return in_order(given, wanted, leaf)  # x = 1, y = 2 against 1, 2
        return in_any_order(given, wanted, leaf)
    return (len(wanted) == 1 or len(given) == 1) and same_listing(given, wanted, leaf)


def same_listing(given: list[str], wanted: list[str], leaf: Leaf) -> bool:
    """Return whether a bare listing has the elements of one set, in any order, or of one tuple, in the same order."""
    listed, enclosed = (given, wanted[0]) if len(wanted) == 1 else (wanted, given[0])
    bracketed = shapes.Bracketed.read(enclosed)
    if bracketed is None:
        return False
    names = shapes.labels(listed)
    if bracketed.brackets == "{}" and len(names) > 1:
        return False  # x = 5, y = 6 are not two values of one
    if len(names) == len(listed) and names <= {"x", "y", "z"}:
        listed = sorted(listed)  # y = 2, x = 1 is the point (1, 2)
    if bracketed.brackets == "{}":
        return in_any_order(listed, shapes.signed(bracketed.parts), leaf)
    return bracketed.brackets == "()" and in_order(list(map(shapes.without_label, listed)), bracketed.parts, leaf)
