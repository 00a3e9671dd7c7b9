"""Grades mathematical answers: two values are equal or they are not, and nothing a model writes is evaluated as code.

Plain answers are compared as fractions (`numbers.py`); everything else goes to math-verify in a worker process that can
be killed (`grader.py`).
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal

from gspo_lite.rewards import grader
from gspo_lite.rewards.numbers import Plain, read_plain, same, tidy
from gspo_lite.rewards.registry import reward
from gspo_lite.rewards.text import MARKERS, find_answer

Marker = Literal["tag", "boxed", "gsm8k"]

MAX_ANSWER = 2000  # characters; what is longer is no final answer
HEDGE = re.compile(
    r"\b(?:or|to|between|maybe|about|approximately|either|not)\b|\\neq?\b|≠|≈|~|\\approx|\?|[;|]|\d ?- ?\d", re.I
)
LAST_NUMBER = re.compile(r"[-−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?")


def grade(completion: str, gold: Any, marker: Marker = "gsm8k") -> bool | None:
    """Whether a completion's final answer is right.

    Args:
        completion: everything the model wrote; only what stands at the last marker after its thinking counts.
        gold: the right answer: text, LaTeX, a GSM8K solution that ends in `#### n`, or a number.
        marker: `gsm8k` for the last `####` line, `boxed` for the last \\boxed{}, `tag` for <answer>..</answer>.

    Returns:
        None where the gold cannot be used, or where grading this answer took a worker's life.
    """
    if marker not in MARKERS:
        raise ValueError(f"marker is {marker!r}; allowed: {', '.join(MARKERS)}")
    right = gold_text(gold)
    if right is None:
        return None
    answer = find_answer(completion, marker)
    if answer is None or len(answer) > MAX_ANSWER:
        return False
    return equal(answer, right)


def equal(answer: str, gold: str) -> bool | None:
    """Whether two answers are the same, by the exact fast path where both are plain."""
    if tidy(answer) == tidy(gold):
        return True
    plain_gold = read_plain(gold)
    plain_answer = read_plain(answer)
    if plain_gold is not None and plain_answer is not None:
        return same(plain_answer, plain_gold)
    if plain_gold is not None and (HEDGE.search(answer) or not any(c.isdigit() for c in answer)):
        return False
    return grader.verify(answer, gold)


def gold_text(gold: Any) -> str | None:
    """A gold as text; None for one that cannot be used."""
    if isinstance(gold, bool) or gold is None:
        return None
    if isinstance(gold, int | float):
        return None if isinstance(gold, float) and not math.isfinite(gold) else repr(gold)
    if not isinstance(gold, str):
        return None
    text = gold.rsplit("####", 1)[1] if "####" in gold else gold
    text = text.strip()
    if len(text) > 1 and text.startswith("$") and text.endswith("$"):
        text = text.strip("$").strip()
    return text or None


def is_usable_gold(gold: Any) -> bool:
    """Whether answers can be graded against this."""
    return gold_text(gold) is not None


def lenient_match(completion: str, gold: Any) -> bool | None:
    """Whether the last number anywhere in a completion is the gold's; None where the gold is no plain number."""
    right = gold_text(gold)
    wanted: Plain | None = read_plain(right) if right is not None else None
    if wanted is None:
        return None
    numbers = LAST_NUMBER.findall(completion[-MAX_ANSWER:])
    last = read_plain(numbers[-1]) if numbers else None
    return last is not None and last.value == wanted.value


@reward
def math_correct(completion: str, answer: Any, *, marker: Marker = "tag") -> float | None:
    """1.0 where the final answer equals the column `answer`, 0.0 where it does not, None where that cannot be judged.

    Equal values in other forms are right: 0.5 and 1/2, 1,000 and 1000. Equality is exact or symbolic, never within a
    tolerance. `marker` says where the final answer stands: `tag` for <answer>..</answer>, `boxed` for \\boxed{},
    `gsm8k` for the last `####` line.

        <answer>1/2</answer> with answer 0.5      1.0
        <answer>7 or 8</answer> with answer 7     0.0
    """
    right = grade(completion, answer, marker)
    return None if right is None else float(right)


@reward
def numeric_match(completion: str, answer: Any, *, marker: Marker = "tag") -> float | None:
    """1.0 where the final answer is a plain number of exactly the value of the column `answer`, else 0.0.

    Like `math_correct` without symbolic answers: faster, and no formula is ever read.
    """
    right = gold_text(answer)
    wanted = read_plain(right) if right is not None else None
    if wanted is None:
        return None
    found = find_answer(completion, marker)
    given = read_plain(found) if found is not None else None
    return float(given is not None and same(given, wanted))


@reward
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
