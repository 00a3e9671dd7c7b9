"""Adapters: a row of a source as a problem with `prompt`, `answer` and the columns that rewards read.

A new one is a function and a row of `ADAPTERS`. Must not know where rows come from.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from string import ascii_uppercase
from typing import Any

from gspo_lite.completion.text import boxed
from gspo_lite.errors import did_you_mean
from gspo_lite.recipe.schema import Columns

Adapter = Callable[[dict[str, Any], Columns], dict[str, Any]]
CALCULATOR = re.compile(r"<<[^<>]*>>")  # GSM8K marks what a calculator was used for


def renamed(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """Two columns under their names here; the others as they are."""
    others = {name: value for name, value in row.items() if name not in (names.prompt, names.answer)}
    return {"prompt": column(row, names.prompt), "answer": column(row, names.answer), **others}


def gsm8k(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """GSM8K: `answer` is a worked solution that ends in `#### 72`; it is kept, and its steps alone as `steps`."""
    solution = column(row, "answer")
    if not isinstance(solution, str) or "####" not in solution:
        raise ValueError("`answer` has no `####` before its result")
    body, result = solution.rsplit("####", 1)
    steps = CALCULATOR.sub("", body).strip()
    answer = result.strip().replace(",", "")
    return {"prompt": column(row, "question"), "answer": answer, "solution": solution, "steps": steps}


def math(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """MATH (Hendrycks): `problem`, and a `solution` whose answer stands in \\boxed{}; the other columns are kept."""
    solution = column(row, "solution")
    answer = boxed(solution) if isinstance(solution, str) else None
    if not answer:
        raise ValueError("`solution` has no closed \\boxed{} with an answer")
    others = {name: value for name, value in row.items() if name != "problem"}
    return {**others, "prompt": column(row, "problem"), "answer": answer}


def countdown(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """The countdown game: numbers in `nums` or `numbers`, and `target`; the answer is a solution where there is one."""
    numbers = [int(n) for n in column(row, "nums" if "nums" in row else "numbers")]
    target = int(column(row, "target"))
    prompt = (
        f"Make {target} out of the numbers {', '.join(map(str, numbers))} with + - * / and parentheses. "
        "Use each number exactly once. The answer is the expression alone."
    )
    return {"prompt": prompt, "answer": str(row.get("answer") or target), "numbers": numbers, "target": target}


def choices(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """Multiple choice as in ARC (`choices`, `answerKey`) or MMLU-Pro (`options`, `answer`): lettered from A."""
    if "options" in row:
        texts, right = list(row["options"]), column(row, "answer")
        keys = list(ascii_uppercase[: len(texts)])
    else:
        given = column(row, "choices")
        texts, keys, right = list(given["text"]), list(given["label"]), column(row, "answerKey")
    if right not in keys:
        raise ValueError(f"the right choice `{right}` is none of {', '.join(f'`{key}`' for key in keys)}")
    lettered = "\n".join(f"{letter}. {text}" for letter, text in zip(ascii_uppercase, texts, strict=False))
    prompt = f"{column(row, 'question')}\n\n{lettered}\n\nThe answer is the letter alone."
    return {"prompt": prompt, "answer": ascii_uppercase[keys.index(right)], "choices": texts}


ADAPTERS: dict[str, Adapter] = {
    "columns": renamed, "gsm8k": gsm8k, "math": math, "countdown": countdown, "choices": choices,
}  # fmt: skip


def column(row: dict[str, Any], name: str) -> Any:
    """A column's value, or an error that names the columns there are."""
    if name in row:
        return row[name]
    there = ", ".join(f"`{column}`" for column in row)
    raise ValueError(f"there is no column `{name}`; there are {there}{did_you_mean(name, row)}")
