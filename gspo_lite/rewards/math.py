"""Grades mathematical answers: two values are equal or they are not, and nothing a model writes is evaluated as code.

Plain answers are compared as fractions (`numbers.py`); everything else goes to a worker process that can be killed
(`grader.py`), where its shape (`answers.py`) and its formulas (`symbolic.py`) are compared.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from gspo_lite.completion.text import MARKERS, Marker, boxed, find_answer
from gspo_lite.rewards.contract.registry import reward
from gspo_lite.rewards.grading import grader
from gspo_lite.rewards.grading.numbers import read_plain, same
from gspo_lite.rewards.grading.spelling import spell

MAX_ANSWER = 2000  # characters; what is longer is no final answer
LAST_NUMBER = re.compile(r"(?<![\d.])-?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/\d+)?%?")


def grade(completion: str, gold: Any, marker: Marker = "gsm8k") -> bool | None:
    """Whether a completion's final answer is right.

    Args:
        completion: everything the model wrote; only what stands at the last marker after its thinking counts.
        gold: the right answer: text, LaTeX, a GSM8K solution that ends in `#### n`, or a number.
        marker: `gsm8k` for the last `####` line, `boxed` for the last \\boxed{}, `tag` for <answer>..</answer>.

    Returns:
        None where the gold cannot be used, or where grading this answer took a worker's life.
    """
    return grade_all([completion], [gold], marker)[0]


def grade_all(completions: Sequence[str], golds: Sequence[Any], marker: Marker = "gsm8k") -> list[bool | None]:
    """`grade` for each completion and gold. Hostile answers of one call share their time, the others are graded."""
    if marker not in MARKERS:
        raise ValueError(f"marker is {marker!r}; allowed: {', '.join(MARKERS)}")
    verdicts: list[bool | None] = []
    open_rows: dict[int, tuple[str, str]] = {}
    for row, (completion, gold) in enumerate(zip(completions, golds, strict=True)):
        pair = to_compare(completion, gold, marker)
        verdicts.append(quick_verdict(*pair) if isinstance(pair, tuple) else pair)
        if verdicts[row] is None and isinstance(pair, tuple):
            open_rows[row] = pair
    for row, verdict in zip(open_rows, grader.verify_all(list(open_rows.values())), strict=True):
        verdicts[row] = verdict
    return verdicts


def to_compare(completion: str, gold: Any, marker: Marker) -> tuple[str, str] | bool | None:
    """The spelled answer and gold; False without an answer, None without a gold."""
    right = gold_text(gold)
    if right is None:
        return None
    answer = find_answer(completion, marker)
    if answer is not None and "\\boxed" in answer:
        answer = boxed(answer)  # a box in the tag
    if answer is None or len(answer) > MAX_ANSWER:
        return False
    return spell(answer), spell(right)


def quick_verdict(answer: str, gold: str) -> bool | None:
    """The verdict on plain numbers and identical texts; None where the worker has to say."""
    if answer == gold:
        return True
    given, wanted = read_plain(answer), read_plain(gold)
    return same(given, wanted) if given is not None and wanted is not None else None


def gold_text(gold: Any) -> str | None:
    """A gold as text; None for one that cannot be used."""
    if hasattr(gold, "item") and getattr(gold, "ndim", None) == 0:
        gold = gold.item()  # a number of numpy
    if isinstance(gold, bool):
        return None
    if isinstance(gold, int):  # as a float it may be too large, and written out longer than Python allows
        return repr(gold) if gold.bit_length() <= 3 * MAX_ANSWER else None
    if isinstance(gold, float):
        return repr(gold) if math.isfinite(gold) else None
    if not isinstance(gold, str):
        return None
    text = gold.rpartition("####")[2].strip()
    text = boxed(text) or "" if "\\boxed" in text else text
    return None if text.strip("$ ").casefold() in ("", "nan") else text


def lenient_match(completion: str, gold: Any) -> bool | None:
    """Whether the last number anywhere in a completion is the gold's; None where the gold is no plain number."""
    right = gold_text(gold)
    wanted = read_plain(spell(right)) if right is not None else None
    if wanted is None:
        return None
    numbers = LAST_NUMBER.findall(spell(completion[-MAX_ANSWER:]))
    last = read_plain(numbers[-1]) if numbers else None
    return last is not None and same(last, wanted)


@reward(judges=True, anywhere=lenient_match)
def math_correct(completions: Sequence[str], answer: Sequence[Any], *, marker: Marker = "tag") -> list[float | None]:
    """1.0 where the final answer equals the column `answer`, 0.0 where it does not, None where that cannot be judged.

    Equal values in other forms are right: 0.5 and 1/2, 1,000 and 1000. Equality is exact or symbolic, never within a
    tolerance. `marker` says where the final answer stands: `tag` for <answer>..</answer>, `boxed` for \\boxed{},
    `gsm8k` for the last `####` line. In a recipe it follows data.prompt.

        <answer>1/2</answer> with answer 0.5      1.0
        <answer>7 or 8</answer> with answer 7     0.0
    """
    return [None if right is None else float(right) for right in grade_all(completions, answer, marker)]


@reward(judges=True, anywhere=lenient_match)
def numeric_match(completion: str, answer: Any, *, marker: Marker = "tag") -> float | None:
    """1.0 where the last number of the final answer has exactly the value of the column `answer`, else 0.0.

    Like `math_correct` without symbolic answers: faster, and words around the number do no harm. None where `answer`
    is no plain number.

        <answer>so it is 12</answer> with answer 12     1.0
        <answer>12.0001</answer> with answer 12         0.0
    """
    found = find_answer(completion, marker)
    right = lenient_match(found if found is not None else "", answer)
    return None if right is None else float(right)


@reward(judges=True, anywhere=lenient_match)
def exact_match(completion: str, answer: Any, *, marker: Marker = "tag") -> float | None:
    """1.0 where the final answer is the text of the column `answer`, apart from case and white space, else 0.0."""
    right = gold_text(answer)
    if right is None:
        return None
    found = find_answer(completion, marker)
    return float(found is not None and folded(found) == folded(right))


def folded(text: str) -> str:
    """A text without differences of case and white space."""
    return " ".join(text.casefold().split())
