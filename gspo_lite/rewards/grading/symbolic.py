"""Says whether two formulas are equal, exactly. math-verify reads the LaTeX; sympy decides.

Runs in the grader's worker process only: it imports sympy, and on hostile text it may take for ever or all memory.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, Expr, I, MatrixBase, Symbol, simplify

DEEPEST = 12  # brackets within brackets
# 9^{999999}, 99999!, 9^9^9^9, 10^{10^{10}}: numbers that no answer is and no computer can hold
ABSURD = re.compile(r"\^[\s{(+-]*\d{6,}|\d{5,}\s*!|!\s*!\s*!|(?:\^[^^]{0,12}){3}|\^[\s{(]*\d{2,}\s*\^[\s{(]*\d{2,}")
SIGNS = re.compile(r"(?:[-+]\s*){12}")  # each is read inside the one before
FUNCTION = re.compile(r"\\(?:(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?|ln|log|exp|sqrt|lim|int|sum|prod)(?![a-z])")
MOST_FUNCTIONS = 24  # without brackets each is the argument of the one before
DECIMAL = re.compile(r"(?<![\w.])(\d*\.\d+)(?:[eE]([-+]?\d{1,3})(?![\w.]))?|(?<![\w.])(\d+)[eE]([-+]?\d{1,3})(?![\w.])")
DEGREES = re.compile(r"(\d+|\{[^{}]*\})°")
DIGITS = 40  # that relations are compared to
# LaTeX only, as plain expressions would go through Python's parser; units are off, as the h of \pi r^2 h is no hour.
LATEX = [
    LatexExtractionConfig(
        boxed_match_priority=-1,
        normalization_config=NormalizationConfig(units=False, equations=False, boxed="none"),
    )
]


def same_value(answer: str, gold: str) -> bool:
    """Whether two single LaTeX formulas are equal; what cannot be read is not equal.

    Raises:
        MemoryError, RecursionError: what reading or comparing them took was more than there is.
    """
    if absurd(answer):
        return False
    given, wanted = read(answer), read(gold)
    if given is None or wanted is None:
        return False
    if isinstance(given, Expr) and isinstance(wanted, Expr):
        return same_expression(given, wanted)
    if isinstance(given, MatrixBase) and isinstance(wanted, MatrixBase):
        return given.shape == wanted.shape and all(map(same_expression, given, wanted))
    # Relations and sets. The tolerance of math-verify's floats does no harm: there are none left.
    return bool(verify(wanted, given, float_rounding=DIGITS, numeric_precision=DIGITS, timeout_seconds=None))


def absurd(text: str) -> bool:
    """Whether a text is nested or towering beyond any answer, so that reading it would only cost time."""
    depth = deepest = 0
    for character in text:
        depth += (character in "({[") - (character in ")}]")
        deepest = max(deepest, depth)
    if deepest > DEEPEST or ABSURD.search(text) or SIGNS.search(text):
        return True
    return len(FUNCTION.findall(text)) > MOST_FUNCTIONS


def read(latex: str) -> Basic | MatrixBase | None:
    """The formula as sympy has it, every decimal exact; None for what is no formula."""
    exact = DEGREES.sub(r"(\\frac{\1\\pi}{180})", DECIMAL.sub(as_fraction, latex)).replace("$", "")
    found = parse(f"${exact}$", LATEX, fallback_mode="no_fallback", parsing_timeout=None)
    if not found or isinstance(found[0], str):
        return None
    return plain_symbols(found[0])


def as_fraction(match: re.Match[str]) -> str:
    """A decimal as a LaTeX fraction, which no float can round."""
    value = Fraction(match[1] or match[3]) * Fraction(10) ** int(match[2] or match[4] or "0")
    return (
        f"{{\\frac{{{value.numerator}}}{{{value.denominator}}}}}" if value.denominator > 1 else f"{{{value.numerator}}}"
    )


def plain_symbols(formula: Any) -> Any:
    """The formula with symbols that carry no assumptions, so that the same name is the same symbol; i is the unit."""
    names = {symbol: I if symbol.name == "i" else Symbol(symbol.name) for symbol in formula.free_symbols}
    return formula.subs(names)


def same_expression(given: Expr, wanted: Expr) -> bool:
    """Whether two expressions are equal everywhere."""
    if given == wanted:
        return True
    difference = (given - wanted).doit()
    if difference.is_Rational:
        return bool(difference == 0)
    verdict = difference.equals(0)  # tries a few points first, which is quick to say no
    return bool(simplify(difference) == 0) if verdict is None else bool(verdict)
