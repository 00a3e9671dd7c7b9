"""Adapters: functions that turn a row of a source into a problem with `prompt`, `answer` and columns for rewards.

To add one, decorate a function with `@adapter`; the recipes' README shows the first line of its docstring. It raises
ValueError for a row that it cannot use. Must not know where rows come from.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from string import ascii_uppercase
from typing import Any

from gspo_lite.completion.text import boxed
from gspo_lite.data.custom import CustomAdapter
from gspo_lite.errors import UsageError, did_you_mean
from gspo_lite.recipe.check import Problem
from gspo_lite.recipe.schema import Columns, Recipe
from gspo_lite.system.imports import code_problem, is_code, unknown

Adapter = Callable[[dict[str, Any], Columns], dict[str, Any]]
ADAPTERS: dict[str, Adapter] = {}
CALCULATOR = re.compile(r"<<[^<>]*>>")  # GSM8K marks calculator steps


def adapter(function: Adapter) -> Adapter:
    """Register a function under its name, which recipes give as `data.adapter`."""
    ADAPTERS[function.__name__] = function
    return function


def load_adapter(name: str) -> Adapter:
    """Return a built-in adapter, or import one from a user's code; raise UsageError if there is neither."""
    if is_code(name):
        return CustomAdapter(name)
    if name not in ADAPTERS:
        raise UsageError(f"`data.adapter`: {unknown('adapter', name, ADAPTERS)}")
    return ADAPTERS[name]


def check_adapter(recipe: Recipe) -> list[Problem]:
    """Return a problem if the name of a recipe's adapter is wrong; no user code is imported."""
    name = recipe.data.adapter
    if name in ADAPTERS:
        return []
    wrong = code_problem(name) if is_code(name) else unknown("adapter", name, ADAPTERS)
    return [Problem(("data", "adapter"), wrong)] if wrong else []


def descriptions() -> dict[str, str]:
    """Return the first docstring line of each built-in adapter, by its name."""
    return {name: inspect.cleandoc(made.__doc__ or "").split("\n")[0] for name, made in ADAPTERS.items()}


@adapter
def columns(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """Take the two columns that `data.columns` names; the others are kept."""
    others = {name: value for name, value in row.items() if name not in (names.prompt, names.answer)}
    return {"prompt": column(row, names.prompt), "answer": column(row, names.answer), **others}


@adapter
def gsm8k(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """Take `question` and the number after `####` in `answer`, kept as `solution`; what precedes it is `steps`."""
    solution = column(row, "answer")
    if not isinstance(solution, str) or "####" not in solution:
        raise ValueError("`answer` has no `####` before its result")
    body, result = solution.rsplit("####", 1)
    steps = CALCULATOR.sub("", body).strip()
    answer = result.strip().replace(",", "")
    return {"prompt": column(row, "question"), "answer": answer, "solution": solution, "steps": steps}


@adapter
def math(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """Take `problem` and the answer in the box of `solution`, as in MATH (Hendrycks); the other columns are kept."""
    solution = column(row, "solution")
    answer = boxed(solution) if isinstance(solution, str) else None
    if not answer:
        raise ValueError("`solution` has no closed \\boxed{} with an answer")
    others = {name: value for name, value in row.items() if name != "problem"}
    return {**others, "prompt": column(row, "problem"), "answer": answer}


@adapter
def countdown(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """Ask for `target` from the numbers in `nums` or `numbers`; the answer is a solution where the row has one."""
    numbers = [int(n) for n in column(row, "nums" if "nums" in row else "numbers")]
    target = int(column(row, "target"))
    prompt = (
        f"Make {target} out of the numbers {', '.join(map(str, numbers))} with + - * / and parentheses. "
        "Use each number exactly once. The answer is the expression alone."
    )
    return {"prompt": prompt, "answer": str(row.get("answer") or target), "numbers": numbers, "target": target}


@adapter
def choices(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """Ask `question` with lettered choices, as in ARC (`choices`, `answerKey`) or MMLU-Pro (`options`, `answer`)."""
    if "options" in row:
        texts, right = list(row["options"]), column(row, "answer")
        keys = list(ascii_uppercase[: len(texts)])
    else:
        given = column(row, "choices")
        texts, keys, right = list(given["text"]), list(given["label"]), column(row, "answerKey")
    if right not in keys:
        raise ValueError(f"the right choice `{right}` is not one of {', '.join(f'`{key}`' for key in keys)}")
    lettered = "\n".join(f"{letter}. {text}" for letter, text in zip(ascii_uppercase, texts, strict=False))
    prompt = f"{column(row, 'question')}\n\n{lettered}\n\nThe answer is the letter alone."
    return {"prompt": prompt, "answer": ascii_uppercase[keys.index(right)], "choices": texts}


def column(row: dict[str, Any], name: str) -> Any:
    """Return a column's value, or raise ValueError with the existing columns."""
    if name in row:
        return row[name]
    there = ", ".join(f"`{column}`" for column in row)
    raise ValueError(f"there is no column `{name}`; the row has {there}{did_you_mean(name, row)}")
