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
from gspo_lite.data.columns import as_json, column, named, unshadowed
from gspo_lite.data.custom import CustomAdapter
from gspo_lite.errors import UsageError
from gspo_lite.recipe.data_settings import Columns, DataSettings
from gspo_lite.recipe.problem import Problem
from gspo_lite.recipe.schema import Recipe
from gspo_lite.recipe.template import template_problem
from gspo_lite.rewards.choice import comparable, index_of
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
    """Return a problem if a recipe's adapter is unknown or would ignore its template; no user code is imported."""
    name = recipe.data.adapter
    if name in ADAPTERS:
        return check_template(recipe.data)
    wrong = code_problem(name) if is_code(name) else unknown("adapter", name, ADAPTERS)
    return [Problem(("data", "adapter"), wrong)] if wrong else check_template(recipe.data)


def check_template(data: DataSettings) -> list[Problem]:
    """Return a problem if `data.template` is not a template or would be ignored."""
    if data.template is None:
        return []
    wrong = template_problem(data.template, "{instruction}\\n{input}")
    if data.columns.prompt is not None:
        wrong = wrong or "replaces data.columns.prompt; remove one of them"
    if is_code(data.adapter) or data.adapter == "countdown":
        wrong = wrong or f"is not for adapter `{data.adapter}`, which writes its own prompt; remove one of them"
    return [Problem(("data", "template"), wrong)] if wrong else []


def descriptions() -> dict[str, str]:
    """Return the first docstring line of each built-in adapter, by its name."""
    return {name: inspect.cleandoc(made.__doc__ or "").split("\n")[0] for name, made in ADAPTERS.items()}


@adapter
def columns(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """Take the two columns that `data.columns` names; the others are kept."""
    own = named(names)
    others = {name: value for name, value in row.items() if name not in (own.prompt, own.answer)}
    problem = {"prompt": column(row, own.prompt)}
    if names.answer is not None or own.answer in row:  # a reward that needs an answer asks for it later
        problem["answer"] = column(row, own.answer)
    return problem | unshadowed(others)


@adapter
def gsm8k(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """Take `question` and the number after `####` in `answer`, kept as `solution`; what precedes it is `steps`."""
    own = named(names, "question")
    solution = column(row, own.answer)
    if not isinstance(solution, str) or "####" not in solution:
        raise ValueError(f"`{own.answer}` has no `####` before its result")
    body, result = solution.rsplit("####", 1)
    steps = CALCULATOR.sub("", body).strip()
    answer = result.strip().replace(",", "")
    return {"prompt": column(row, own.prompt), "answer": answer, "solution": solution, "steps": steps}


@adapter
def math(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """Take `problem` and the answer in the box of `solution`, as in MATH (Hendrycks); the other columns are kept."""
    own = named(names, "problem", "solution")
    solution = column(row, own.answer)
    answer = boxed(solution) if isinstance(solution, str) else None
    if not answer:
        raise ValueError(f"`{own.answer}` has no closed \\boxed{{}} with an answer")
    others = {name: value for name, value in row.items() if name != own.prompt}
    return unshadowed(others) | {"prompt": column(row, own.prompt), "answer": answer}


@adapter
def countdown(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """Ask for `target` from the numbers in `nums` or `numbers`; the answer is a solution where the row has one."""
    given = as_json(column(row, "nums" if "nums" in row else "numbers"))
    if not isinstance(given, list | tuple) or not given:
        raise ValueError(f"the numbers are {given!r:.60}, not a list")
    numbers, target = [whole(number) for number in given], whole(column(row, "target"))
    prompt = (
        f"Make {target} out of the numbers {', '.join(map(str, numbers))} with + - * / and parentheses. "
        "Use each number exactly once. The answer is the expression alone."
    )
    return {"prompt": prompt, "answer": str(row.get("answer") or target), "numbers": numbers, "target": target}


def whole(value: Any) -> int:
    """Return a whole number, also from its digits; raise ValueError for anything else."""
    if isinstance(value, str) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r:.60} is not a whole number")
    return value


@adapter
def choices(row: dict[str, Any], names: Columns) -> dict[str, Any]:
    """Ask `question` with lettered `choices` or `options`; the right one is a letter, an index from 0, or its text."""
    own = named(names, "question", "answerKey" if "answerKey" in row else "answer")
    texts, labels = choices_of(column(row, "options" if "options" in row else "choices"))
    if not 2 <= len(texts) <= len(ascii_uppercase):
        raise ValueError(f"there are {len(texts)} choices; 2 to {len(ascii_uppercase)} can be lettered")
    right = column(row, own.answer)
    index = labels.index(right) if right in labels else index_of(right, [comparable(text) for text in texts])
    if index is None:
        raise ValueError("the right choice is missing")
    lettered = "\n".join(f"{letter}. {text}" for letter, text in zip(ascii_uppercase, texts, strict=False))
    prompt = f"{column(row, own.prompt)}\n\n{lettered}\n\nThe answer is the letter alone."
    return {"prompt": prompt, "answer": ascii_uppercase[index], "choices": texts}


def choices_of(given: Any) -> tuple[list[str], list[str]]:
    """Return the texts of choices and their labels, which are letters where the data has none.

    Args:
        given: texts, as a list or as JSON; `{text: [...], label: [...]}`; a list of `{text, label}`; `{label: text}`.
    """
    given = as_json(given)
    if isinstance(given, dict) and all(isinstance(given.get(key), list) for key in ("text", "label")):
        given = [{"text": text, "label": label} for text, label in zip(given["text"], given["label"], strict=True)]
    elif isinstance(given, dict):
        given = [{"text": text, "label": label} for label, text in given.items()]
    if not isinstance(given, list | tuple):
        raise ValueError(f"the choices are a {type(given).__name__}, not a list")
    labelled = all(isinstance(item, dict) and {"text", "label"} <= item.keys() for item in given)
    texts = [str(item["text"] if labelled else item) for item in given]
    return texts, [str(item["label"]) for item in given] if labelled else list(ascii_uppercase[: len(texts)])
