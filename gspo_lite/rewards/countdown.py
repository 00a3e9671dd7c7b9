"""Grades the countdown game: reach a target from given numbers. Arithmetic walks a syntax tree, in exact fractions."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from gspo_lite.completion.markers import Marker
from gspo_lite.completion.text import boxed, find_answer
from gspo_lite.completion.thinking import Thinking
from gspo_lite.rewards.contract.registry import reward

MAX_EXPRESSION = 500  # characters; a game has a handful of numbers
EXPRESSION = re.compile(r"[0-9+\-*/() ]+")
FRACTION = re.compile(r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
MOST_NESTED = 8  # fractions in fractions
# Commands and signs, and how Python writes them; an x is not a variable in this game
SIGNS = [
    (re.compile(r"\\(?:times|cdot|ast)(?![a-z])|[×·∙⋅xX∗]"), "*"),
    (re.compile(r"\\div(?![a-z])|[÷∕⁄]"), "/"),
    (re.compile(r"\\(?:left|right|quad|qquad|displaystyle|,|;|!| )|[`$\n\t]|\*\*(?=\s*$)|^\s*\*\*"), " "),
    (re.compile(r"[−–‐‑]"), "-"),
    (re.compile(r"[\[{]"), "("),
    (re.compile(r"[\]}]"), ")"),
]
OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


@reward(judges=True)
def countdown(
    completion: str, numbers: Sequence[Any], target: Any, *, marker: Marker = "tag", thinking: Thinking = "think"
) -> float | None:
    """Return 1.0 if the final answer reaches `target` with each number of the column `numbers` exactly once, else 0.0.

    The answer is an expression of whole numbers with + - * / and parentheses, in Python, Unicode or LaTeX, evaluated
    exactly; `= target` may stand behind it or `target =` before it. `marker` says where it is, as for `math_correct`.
    The value is None if numbers or target are missing.

        <answer>(1 + 2) * 3</answer> with numbers [1, 2, 3] and target 9      1.0
        <answer>3 * 3</answer> with numbers [1, 2, 3] and target 9            0.0
    """
    if numbers is None or target is None:
        return None
    wanted = exactly(target)
    answer = find_answer(completion, marker, thinking) or ""
    tree = parsed(expression_in(spelled(boxed(answer) or answer), wanted))
    if tree is None or used(tree) != sorted(map(exactly, numbers)):
        return 0.0
    try:
        return float(value_of(tree) == wanted)
    except ZeroDivisionError:
        return 0.0


def exactly(number: Any) -> Fraction:
    """Return a number from the data, which may be text, without rounding."""
    return Fraction(str(number))


def spelled(answer: str) -> str:
    """Return an answer with Python's signs; empty if it is too long to be one."""
    if len(answer) > MAX_EXPRESSION:
        return ""
    for _ in range(MOST_NESTED):  # the innermost fraction first
        answer = FRACTION.sub(r"((\1)/(\2))", answer)
    for sign, plain in SIGNS:
        answer = sign.sub(plain, answer)
    return answer.strip().removesuffix(".").strip()


def expression_in(answer: str, target: Fraction) -> str:
    """Return the side of an equation that is not the target; the answer itself if it is none, else nothing."""
    sides = answer.split("=")
    if len(sides) == 1:
        return answer
    if len(sides) == 2 and number_of(sides[1]) == target:
        return sides[0]
    return sides[1] if len(sides) == 2 and number_of(sides[0]) == target else ""


def number_of(text: str) -> Fraction | None:
    """Return the value of a whole number; None for any other text."""
    digits = re.fullmatch(r" *(-? *[0-9]+) *", text)
    return Fraction(digits[1].replace(" ", "")) if digits else None


def parsed(expression: str) -> ast.expr | None:
    """Return the syntax tree of an expression; None for anything but numbers, + - * / and parentheses."""
    if not EXPRESSION.fullmatch(expression):
        return None
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # the last two from deep nesting
        return None
    return tree if all(map(is_allowed, ast.walk(tree))) else None


def is_allowed(node: ast.AST) -> bool:
    """Return whether a node of the tree is a number or one of the four operations."""
    if isinstance(node, ast.BinOp):
        return type(node.op) in OPERATIONS
    return isinstance(node, ast.operator) or (isinstance(node, ast.Constant) and type(node.value) is int)


def used(tree: ast.expr) -> list[Fraction]:
    """Return the numbers in a tree, sorted."""
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return sorted(Fraction(value) for value in constants if isinstance(value, int))


def value_of(tree: ast.expr) -> Fraction:
    """Return the value of a tree of allowed nodes; it is no deeper than it has numbers."""
    if isinstance(tree, ast.BinOp):
        return OPERATIONS[type(tree.op)](value_of(tree.left), value_of(tree.right))
    assert isinstance(tree, ast.Constant)
    assert isinstance(tree.value, int)
    return Fraction(tree.value)
