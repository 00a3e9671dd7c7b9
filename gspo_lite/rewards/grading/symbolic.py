"""Decides whether two formulas are equal, exactly: math-verify's parser reads the LaTeX, sympy compares.

Runs in the grader's worker process only: it imports sympy, and hostile text can take forever or all memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from latex2sympy2_extended import NormalizationConfig, normalize_latex
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from math_verify import verify
from sympy import Basic, Equality, Expr, I, MatrixBase, Pow, S, Symbol, nan, oo, simplify, zoo

DEEPEST = 12  # nested brackets
# 9^{999999}, 99999!, 9^9^9^9, 10^{10^{10}}: no answer is such a number, and no computer can hold it
ABSURD = re.compile(
    r"\^[\s{(+-]*\d{6,}|\d{5,}\s*!|!\s*!\s*!"
    r"|(?:\^[\s{(+-]{0,9}(?:\d{1,9}|[a-zA-Z]|\\[a-z]{1,9})\s{0,3}){3}|\^[\s{(]*\d{2,}\s*\^[\s{(]*\d{2,}"
)
SIGNS = re.compile(r"(?:[-+]\s*){12}")  # each is parsed inside the one before
FUNCTION = re.compile(r"\\(?:(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?|ln|log|exp|sqrt|lim|int|sum|prod)(?![a-z])")
MOST_FUNCTIONS = 24  # without brackets each is the argument of the one before
DECIMAL = re.compile(r"(?<![\w.])(\d*\.\d+)(?:[eE]([-+]?\d{1,3})(?![\w.]))?|(?<![\w.])(\d+)[eE]([-+]?\d{1,3})(?![\w.])")
DEGREES = re.compile(r"(\d+|\{[^{}]*\})°")
# Names that the engine takes for a constant or drops, and letters with two shapes, as what it can tell apart
# The engine drops signs behind a number, as in 26_{100}, and takes every product to be commutative.
UNREADABLE = re.compile(
    r"\d ?['\"_]|\\nabla|\\vec ?\{[^{}]*\} ?\\(?:times|cdot)(?![a-z])|\\(?:gcd|lcm) ?\([^()]*[a-zA-Z]"
)
SMALL_STEP = r"(?:d|\\partial|\\Delta) ?"
NAMES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(rf"\\frac\{{{SMALL_STEP}(\w)\}}\{{{SMALL_STEP}(\w)\}}"), lambda m: f"D_{{{ord(m[1])}{ord(m[2])}}}"),
    (re.compile(r"(?<!\\)(?<!\\[a-zA-Z])(?<!\\[a-zA-Z]{2})I"), r"\\Upsilon "),
    (re.compile(r"\\gamma(?![a-zA-Z])"), r"\\varrho "),
    (re.compile(r"\\Gamma(?![a-zA-Z( ])"), r"\\varpi "),
    (re.compile(r"\\var(phi|epsilon|theta)(?![a-zA-Z])"), r"\\\1"),
    (re.compile(r"(?<!\\)(?<!\\[a-zA-Z])(?<!\\[a-zA-Z]{2})T(?![a-z])"), r"\\Theta "),  # A^T loses its T
    (re.compile(r"(?<![\\a-zA-Z])([a-zA-Z])('+)"), lambda m: f"{m[1]}_{{{'prime' * len(m[2])}}}"),
]
DIGITS = 40  # to which relations are compared
NORMAL = NormalizationConfig(units=False, equations=False, boxed="none")  # the h of \pi r^2 h is not an hour
CASED = ConversionConfig(lowercase_symbols=False)  # R and r are two symbols


def same_value(answer: str, gold: str) -> bool:
    """Return whether two single LaTeX formulas are equal; unreadable ones are not. May exhaust memory or the stack."""
    if absurd(answer) or UNREADABLE.search(answer) or UNREADABLE.search(gold):
        return False
    given, wanted = read(answer), read(gold)
    if given is None or wanted is None:
        return False
    if isinstance(given, Expr) and isinstance(wanted, Expr):
        return same_expression(given, wanted)
    if isinstance(given, MatrixBase) and isinstance(wanted, MatrixBase):
        return given.shape == wanted.shape and all(map(same_expression, given, wanted))
    if isinstance(given, Equality) and isinstance(wanted, Equality):
        return same_equation(given, wanted)
    # Relations and sets. The float tolerance of math-verify is harmless because no floats are left.
    return bool(verify(wanted, given, float_rounding=DIGITS, numeric_precision=DIGITS, timeout_seconds=None))


def absurd(text: str) -> bool:
    """Return whether a text is nested or stacked beyond any real answer, so that reading it would only waste time."""
    depth = deepest = 0
    for character in text:
        depth += (character in "({[") - (character in ")}]")
        deepest = max(deepest, depth)
    if deepest > DEEPEST or ABSURD.search(text) or SIGNS.search(text):
        return True
    return len(FUNCTION.findall(text)) > MOST_FUNCTIONS


def read(latex: str) -> Basic | MatrixBase | None:
    """Return the formula in sympy, with every decimal exact; None if the text is not a formula."""
    exact = DEGREES.sub(r"(\\frac{\1\\pi}{180})", DECIMAL.sub(as_fraction, latex)).replace("$", "")
    for name, readable in NAMES:
        exact = name.sub(readable, exact)
    try:
        # The engine's own `parse` lower-cases all symbols, and falls back to the part behind the last equals sign.
        found = latex2sympy(normalize_latex(exact, NORMAL), normalization_config=None, conversion_config=CASED)
    except (RecursionError, MemoryError):
        raise
    except Exception:
        return None
    if not isinstance(found, Basic | MatrixBase):
        return None
    return plain_symbols(found)


def as_fraction(match: re.Match[str]) -> str:
    """Return a decimal as a LaTeX fraction, free of float rounding."""
    value = Fraction(match[1] or match[3]) * Fraction(10) ** int(match[2] or match[4] or "0")
    top, bottom = value.as_integer_ratio()
    return f"{{\\frac{{{top}}}{{{bottom}}}}}" if bottom > 1 else f"{{{top}}}"


def plain_symbols(formula: Any) -> Any:
    """Return the formula with assumption-free symbols, so that equal names are equal symbols; i is imaginary."""
    names = {symbol: I if symbol.name == "i" else Symbol(symbol.name) for symbol in formula.free_symbols}
    return formula.subs(names)


def same_expression(given: Expr, wanted: Expr) -> bool:
    """Return whether two expressions are equal everywhere."""
    if undefined(given) or undefined(wanted):
        return False
    given, wanted = given.doit(), wanted.doit()
    if given == wanted:
        return True
    difference = given - wanted
    if difference.is_Rational:
        return bool(difference == 0)
    verdict = difference.equals(0)  # tries a few points first, which finds most differences quickly
    return bool(simplify(difference) == 0) if verdict is None else bool(verdict)


def same_equation(given: Equality, wanted: Equality) -> bool:
    """Return whether two equations are the same up to a factor that is a number."""
    first, second = given.lhs - given.rhs, wanted.lhs - wanted.rhs
    if same_expression(second, S.Zero):
        return same_expression(first, S.Zero)
    factor = simplify(first / second)
    return bool(factor.is_number and factor.is_nonzero)


def undefined(formula: Expr) -> bool:
    """Return whether a formula divides by zero or calculates with infinity somewhere, so that it equals nothing."""
    powers = formula.atoms(Pow)
    if any(power.base.has(oo, zoo) or (power.exp.is_negative and power.base.doit() == 0) for power in powers):
        return True
    return bool(formula.doit().has(zoo, nan))
