"""A calculator that a model may call, named in a recipe as `gspo_lite.tools.calculator:calculate`.

It evaluates arithmetic and nothing else, exactly, and within bounds: an expression is a model's text, which must not
run code or keep a run waiting, as `9**9**9` would. Copy the file to change it: it needs only the standard library.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from fractions import Fraction

LONGEST = 200  # characters of an expression
LARGEST = 10**30  # of a number, and of the denominator of a fraction
HIGHEST = 64  # exponent
DIGITS = 10  # of a result that is not whole

Operation = Callable[[Fraction, Fraction], Fraction | int]


def calculate(expression: str) -> str:
    """Calculate an arithmetic expression, such as `3 * (4 + 1.5) / 2`.

    Args:
        expression: numbers with + - * / // % ** and parentheses
    """
    text = str(expression).strip()
    if len(text) > LONGEST:
        raise ValueError(f"the expression has more than {LONGEST} characters")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(f"`{text}` is not an arithmetic expression") from None
    return written(value_of(tree.body))


def value_of(node: ast.expr) -> Fraction:
    """Return the value of an expression, refusing anything but arithmetic and numbers out of bounds."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return bounded(Fraction(str(node.value)))  # 0.1 is a tenth, not the nearest float
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = value_of(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        left, right = value_of(node.left), value_of(node.right)
        try:
            return bounded(Fraction(OPERATIONS[type(node.op)](left, right)))
        except ZeroDivisionError:
            raise ValueError("division by zero") from None
    raise ValueError("only numbers, + - * / // % ** and parentheses are allowed; write 1000 for 1,000")


def power(base: Fraction, exponent: Fraction) -> Fraction:
    """Return a power with a small whole exponent."""
    if exponent.denominator != 1 or abs(exponent) > HIGHEST:
        raise ValueError(f"an exponent must be a whole number up to {HIGHEST}")
    return Fraction(base**exponent.numerator)


def bounded(value: Fraction) -> Fraction:
    """Return a value that is not out of bounds."""
    if abs(value.numerator) > LARGEST or value.denominator > LARGEST:
        raise ValueError("a number is too large")
    return value


def written(value: Fraction) -> str:
    """Return a whole number as that, any other in decimals: `7`, `2.5`, `0.3333333333`."""
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.{DIGITS}g}"


OPERATIONS: dict[type[ast.operator], Operation] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: power,
}  # fmt: skip
