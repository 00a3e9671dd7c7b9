"""Compares single parts of two answers: numbers, formulas, texts, tuples, sets, intervals, matrices, equations, bases.

Owns when two shapes are the same (`shapes.py`, `regions.py`, `matrices.py` and `bases.py` read them). The caller's
`leaf` compares formulas, so nothing here knows a computer algebra system.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from gspo_lite.rewards.grading import shapes
from gspo_lite.rewards.grading.bases import based_of
from gspo_lite.rewards.grading.kinds import is_bound, same_kind
from gspo_lite.rewards.grading.matrices import rows_of, unit_vectors, vector_of
from gspo_lite.rewards.grading.numbers import read_plain, same
from gspo_lite.rewards.grading.regions import all_but, region_of
from gspo_lite.rewards.grading.sequences import capitals_of
from gspo_lite.rewards.grading.spelling import squeezed
from gspo_lite.rewards.grading.units import units_agree

Leaf = Callable[[str, str], bool]  # whether two single formulas are equal, exactly

SYMBOL = re.compile(r"[a-z][A-Z]|[\\_^{}=<>+*/|]")  # NaCl is not nacl, nor T_{max} t_{max}
REVERSED = re.compile(r"([^=]+?) ?= ?([a-zA-Z])")  # 5 = x
EMPTY = re.compile(
    r"\\emptyset|\\\{ ?\\\}|(?:the )?(?:empty|null) set|(?:there (?:is|are) )?no (?:real )?solutions?", re.IGNORECASE
)


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
    for compare in (same_text, same_matrix, same_region, same_bracketed, same_equation, same_based, same_number):
        verdict = compare(answer, gold, leaf)
        if verdict is not None:
            return verdict
    alike = same_kind(answer, gold)
    if alike is None:
        return not is_bound(gold) and same_formula(answer, gold, leaf)
    return alike


def same_text(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare an answer with a gold in words, ignoring case and punctuation; None for any other gold."""
    if EMPTY.fullmatch(answer) and EMPTY.fullmatch(gold):
        return True
    return True if same_words(answer, gold) else False if shapes.is_text(gold) else None


def same_words(answer: str, gold: str) -> bool:
    """Return whether two texts have the same words, in any case unless capitals inside a word make it a symbol."""
    return (
        shapes.has_words(gold)
        and not SYMBOL.search(f"{gold} {answer}")
        and shapes.folded(answer) == shapes.folded(gold)
    )


def same_matrix(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare matrices cell by cell in any brackets, and vectors in any form; None without a matrix or a vector."""
    given, wanted = rows_of(answer), rows_of(gold)
    if given is not None and wanted is not None:
        return len(given) == len(wanted) and all(in_order(a, g, leaf) for a, g in zip(given, wanted, strict=True))
    summed = unit_vectors(answer) or unit_vectors(gold)
    if given is None and wanted is None and summed is None:
        return None
    components, others = vector_of(answer), vector_of(gold)
    if components is None or others is None:
        return None if summed else False
    longest = max(len(components), len(others)) if summed else 0  # 2i + 3j has no third component
    first, second = (one + ["0"] * (longest - len(one)) for one in (components, others))
    return in_order(first, second, leaf)


def same_bracketed(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare brackets and elements of tuples, intervals and sets, of which only sets have no order."""
    given, wanted = shapes.Bracketed.read(answer), shapes.Bracketed.read(gold)
    if wanted is None or (len(wanted.parts) == 1 and wanted.brackets != "{}"):
        return None
    if given is None and len(wanted.parts) == 1:
        inner = wanted.parts[0]  # x = 3 is the set {3}
        return not EMPTY.fullmatch(inner) and same_part(shapes.without_label(answer), inner, leaf)
    if given is None or given.brackets != wanted.brackets:
        return False
    if wanted.brackets == "{}":
        return in_any_order(shapes.signed(given.parts), shapes.signed(wanted.parts), leaf)
    return in_order(given.parts, wanted.parts, leaf)


def same_region(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare inequalities and intervals, in either form, by their bounds, and all numbers but some by those."""
    but, all_others = all_but(answer), all_but(gold)
    if but is not None and all_others is not None:
        alike = named_alike(but.variable, all_others.variable)
        return alike and in_any_order(but.left_out, all_others.left_out, leaf)
    given, wanted = region_of(answer), region_of(gold)
    if given is None or wanted is None:
        return None
    if shapes.Bracketed.read(answer) and shapes.Bracketed.read(gold) and not (given.variable or wanted.variable):
        return None
    if not named_alike(given.variable, wanted.variable) or given.brackets != wanted.brackets:
        return False
    ends, others = ([normal_end(end) for end in (one.lower, one.upper)] for one in (given, wanted))
    return in_order(ends, others, leaf)


def normal_end(bound: str) -> str:
    """Return a bound with one spelling of infinity."""
    return re.sub(r"^\+ ?(?=\\infty)|(?<=-) (?=\\infty)", "", bound)


def named_alike(first: str | None, second: str | None) -> bool:
    """Return whether two variables can be the same: one may be left out."""
    return not first or not second or first == second


def same_equation(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare assignments and equations: x = 7 equals 7 but not y = 7, and every step of 14/2 = 7 must be right."""
    if "=" not in answer and "=" not in gold:
        return None
    turned = REVERSED.fullmatch(answer)
    answer = f"{turned[2]} = {turned[1]}" if turned and not shapes.LABEL.match(answer) else answer
    named = shapes.EXPRESSION.match(answer)
    if named and "=" not in gold:
        return chain(answer[named.end() :], gold, leaf)
    given, wanted = shapes.LABEL.match(answer), shapes.LABEL.match(gold)
    if given and wanted and values_of_function(squeezed(given[1]), squeezed(wanted[1])):
        return chain(answer[given.end() :], gold[wanted.end() :], leaf)
    if wanted and given is None and "=" in answer and read_plain(gold[wanted.end() :]):
        return False  # 2x = 6 is not solved
    if given and wanted and squeezed(given[1]) == squeezed(wanted[1]) and "=" not in gold[wanted.end() :]:
        return chain(answer[given.end() :], gold[wanted.end() :], leaf)
    if wanted and not ("=" in answer or shapes.RELATION.search(answer) or "\\neq" in answer):
        return same_part(answer, gold[wanted.end() :], leaf)
    if "=" not in gold:
        return chain(shapes.without_label(answer), gold, leaf) if not shapes.RELATION.search(gold) else False
    return "=" in answer and leaf(answer, gold)


def values_of_function(first: str, second: str) -> bool:
    """Return whether two names stand for the values of one function, of which one is y and the other f(x)."""
    return "y" in (first, second) and (first + second).endswith((")", ")y"))


def chain(steps: str, gold: str, leaf: Leaf) -> bool:
    """Return whether every step of `a = b = c` equals the gold."""
    return all(
        same_part(step.strip(), gold, leaf) or same_product(step.strip(), gold, leaf) for step in steps.split("=")
    )


def same_product(answer: str, gold: str, leaf: Leaf) -> bool:
    """Return whether two strings of capitals are the same product, which they are behind an equals sign."""
    return capitals_of(answer) is not None and capitals_of(gold) is not None and leaf(answer, gold)


def same_based(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare numbers in a base: digits and base must be the same, or the base may be left out."""
    given, wanted = based_of(answer), based_of(gold)
    if wanted is not None:
        digits = given.digits if given else answer.replace(" ", "").upper().lstrip("0") or "0"
        return digits == wanted.digits and (given is None or given.base == wanted.base)
    if given is not None:
        return given.base == 10 and same_part(given.digits, gold, leaf)
    return None


def same_number(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare plain numbers, exactly."""
    given, wanted = read_plain(answer), read_plain(gold)
    return same(given, wanted) if given is not None and wanted is not None else None


def same_formula(answer: str, gold: str, leaf: Leaf) -> bool:
    """Compare single formulas with an optional unit; words in place of a formula are wrong."""
    (given, unit), (wanted, other) = shapes.without_unit(answer), shapes.without_unit(gold)
    if not units_agree(unit, other) or shapes.has_words(given):
        return False
    if "degree" in (unit, other) and unit != other and "\\pi" in gold:
        return False  # radians
    as_many_signs = len(shapes.RELATION.findall(given)) == len(shapes.RELATION.findall(wanted))
    return as_many_signs and ("\\neq" in given) == ("\\neq" in wanted) and leaf(given, wanted)
