"""Compares two answers part by part: solution sets, tuples, intervals, inequalities, matrices, labels, bases and text.

Owns when two shapes are the same (`shapes.py`, `regions.py`, `matrices.py`, `bases.py` and `choices.py` read them); what
is no formula at all has a kind of its own (`kinds.py`). The caller's `leaf` compares single formulas, so nothing here
knows a computer algebra system. Hedged answers are wrong by their shape: two parts are not one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from gspo_lite.rewards.grading import shapes
from gspo_lite.rewards.grading.bases import based_of
from gspo_lite.rewards.grading.choices import choice_of
from gspo_lite.rewards.grading.kinds import is_bound, of_another_kind, same_kind
from gspo_lite.rewards.grading.matrices import rows_of, unit_vectors, vector_of
from gspo_lite.rewards.grading.numbers import read_plain, same
from gspo_lite.rewards.grading.regions import all_but, contradictory, region_of, unfolded
from gspo_lite.rewards.grading.sequences import capitals_of
from gspo_lite.rewards.grading.spelling import squeezed
from gspo_lite.rewards.grading.units import units_agree

Leaf = Callable[[str, str], bool]  # whether two single formulas are equal, exactly

PREFIX = re.compile(
    r"(?:(?:so|thus|hence|therefore|then|ans|total)[,:]? )?"
    r"(?:(?:the |my )?(?:final |correct )?(?:answer|result|solution|value)s?(?: is| are|:| =| equals)+|answer:|it is|it's|there are|there is"
    r"|(?:the|its|his|her|their|our) (?!(?:\w+ )*?(?:wrong|incorrect|false|other|opposite|not) )(?:[a-zA-Z]+ ){1,6}?(?:is|are|was|were|equals?)"
    r"(?: equal to)?|=)?:?\s*(?:exactly )?",
    re.IGNORECASE,
)
ROUGH = re.compile(r"≈|\\approx|\\sim(?:eq)?(?![a-z])|\b(?:about|approximately|approx\.?|roughly|around)\b", re.IGNORECASE)
UNSURE = re.compile(r"\?|\b(?:maybe|perhaps|possibly|not|either)\b", re.IGNORECASE)
SMALL, SHORT = "abcde", 12  # letters of choices; characters of an answer that may name one by a small letter
SYMBOL = re.compile("[a-z][A-Z]")  # NaCl is not nacl
EMPTY = re.compile(r"\\emptyset|\\\{ ?\\\}|(?:the )?(?:empty|null) set|(?:there (?:is|are) )?no (?:real )?solutions?", re.IGNORECASE)


def same_answer(answer: str, gold: str, leaf: Leaf) -> bool:
    """Return whether two spelled answers are the same."""
    answer = without_prefix(answer)
    if squeezed(answer) == squeezed(gold) and read_plain(gold) is None:
        return True
    if UNSURE.search(answer) and not UNSURE.search(gold):
        return False
    if same_words(answer, gold):
        return True
    answer = before_rounding(answer)
    if ROUGH.search(gold):
        answer, gold = exactly(answer), exactly(gold)
    elif ROUGH.search(answer):
        return False
    for whole in (same_choice, lambda *texts: same_kind(*texts[:2]), same_region):
        verdict = whole(answer, gold, leaf)
        if verdict is not None:
            return verdict
    return not of_another_kind(answer, gold) and same_parts(answer, gold, leaf)


def before_rounding(text: str) -> str:
    """Return the exact value of an answer that also gives it rounded, x = 1/3 \\approx 0.33; else the answer."""
    exact, sign, rounded = text.partition("\\approx")
    exact = exact.strip()
    value = shapes.without_label(exact)
    return exact if sign and read_plain(rounded.strip()) and re.search(r"\d|\\pi", value) and value[-1:] != "=" else text


def exactly(text: str) -> str:
    """Return an approximate answer as if it were exact: x \\approx 9 becomes x = 9."""
    return without_prefix(re.sub(r"[= ]+= *", " = ", ROUGH.sub(" = ", text)).strip())


def without_prefix(text: str) -> str:
    """Return a text without the words that introduce an answer."""
    prefix = PREFIX.match(text)
    return text[prefix.end() :] if prefix else text


def same_choice(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare the letters of two choices, and their texts where both have one; None if the gold names no choice."""
    wanted, given = choice_of(gold.upper() if gold in SMALL else gold), choice_of(answer)
    if wanted is None:
        return None
    given = given or (choice_of(answer.upper()) if len(answer) < SHORT else None)
    if given is None:
        if wanted.text:
            return same_answer(answer, wanted.text, leaf)
        return None
    if given.letter != wanted.letter:
        return False
    return not (given.text and wanted.text) or same_answer(given.text, wanted.text, leaf)


def same_parts(answer: str, gold: str, leaf: Leaf) -> bool:
    """Return whether two answers list the same solutions."""
    if contradictory(answer) != contradictory(gold):
        return False
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
    if bracketed.brackets == "{}":
        return in_any_order(listed, shapes.signed(bracketed.parts), leaf)
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
    return shapes.has_words(gold) and not SYMBOL.search(gold) and shapes.folded(answer) == shapes.folded(gold)


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
    padded = [one + ["0"] * (longest - len(one)) for one in (components, others)]
    return in_order(*padded, leaf)


def same_bracketed(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare brackets and elements of tuples, intervals and sets, of which only sets have no order."""
    given, wanted = shapes.Bracketed.read(answer), shapes.Bracketed.read(gold)
    if wanted is None or (len(wanted.parts) == 1 and wanted.brackets != "{}"):
        return None
    if given is None and len(wanted.parts) == 1:
        return same_part(shapes.without_label(answer), wanted.parts[0], leaf)  # x = 3 is the set {3}
    if given is None or given.brackets != wanted.brackets:
        return False
    if wanted.brackets == "{}":
        return in_any_order(shapes.signed(given.parts), shapes.signed(wanted.parts), leaf)
    return in_order(given.parts, wanted.parts, leaf)


def same_region(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """Compare inequalities and intervals, in either form, by their bounds, and all numbers but some by those."""
    but, others = all_but(answer), all_but(gold)
    if but is not None and others is not None:
        return named_alike(but.variable, others.variable) and in_any_order(but.left_out, others.left_out, leaf)
    given, wanted = region_of(answer), region_of(gold)
    if given is None or wanted is None:
        return None
    if shapes.Bracketed.read(answer) and shapes.Bracketed.read(gold) and not (given.variable or wanted.variable):
        return None
    ends = [[normal_end(end) for end in (one.lower, one.upper)] for one in (given, wanted)]
    return named_alike(given.variable, wanted.variable) and given.brackets == wanted.brackets and in_order(*ends, leaf)


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
    named = shapes.EXPRESSION.match(answer)
    if named and "=" not in gold:
        return chain(answer[named.end() :], gold, leaf)
    given, wanted = shapes.LABEL.match(answer), shapes.LABEL.match(gold)
    if given and wanted and all(map(is_function, (given[1], wanted[1]))):
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


def is_function(name: str) -> bool:
    """Return whether a name stands for the values of a function: y or f(x)."""
    return squeezed(name) == "y" or name.rstrip().endswith(")")


def chain(steps: str, gold: str, leaf: Leaf) -> bool:
    """Return whether every step of `a = b = c` equals the gold."""
    return all(same_part(step.strip(), gold, leaf) or same_product(step.strip(), gold, leaf) for step in steps.split("="))


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
