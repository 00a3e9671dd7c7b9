"""Grades mathematical answers by value; nothing that a model writes is evaluated as code.

Plain answers are compared as fractions (`numbers.py`). All others go to a worker process that can be killed
(`grader.py`), which compares their shapes (`answers.py`) and formulas (`symbolic.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from gspo_lite.completion.markers import Marker
from gspo_lite.completion.numbers import last_number_spans
from gspo_lite.completion.text import Layout, boxed, completion_text, find_answer, layout_of, text_at
from gspo_lite.completion.thinking import Thinking
from gspo_lite.rewards.contract.registry import reward
from gspo_lite.rewards.grading import grader
from gspo_lite.rewards.grading.golds import gold_text, why_unusable
from gspo_lite.rewards.grading.numbers import Plain, read_plain, same
from gspo_lite.rewards.grading.spelling import spell

MAX_ANSWER = 2000  # characters; a longer text is not a final answer
LISTING = re.compile(r"\d+(?:,\d+)+")  # where no thousands are, as in 1,0541: more than one number


def grade(completion: str, gold: Any, marker: Marker = "gsm8k", thinking: Thinking = "think") -> bool | None:
    """Return whether a completion's final answer is right; None if the gold is unusable or grading exceeded its limits.

    Args:
        completion: everything the model wrote; only the text at the last marker after its thinking counts.
        gold: the right answer as data sets write it: text, LaTeX, a number, a list, or a solution with its answer
            behind `####`, in a box or in a tag. See `grading.golds`.
        marker: `gsm8k` for the last `####` line, `boxed` for the last \\boxed{}, `tag` for <answer>..</answer>; all
            that `answer_spans` takes.
        thinking: which tags mean thinking, a preset or a pair.
    """
    return grade_all([completion], [gold], marker, thinking)[0]


def grade_all(
    completions: Sequence[str], golds: Sequence[Any], marker: Marker = "gsm8k", thinking: Thinking = "think"
) -> list[bool | None]:
    """Apply `grade` to each completion and gold; slow answers of one call share a time budget."""
    layout = layout_of(marker, thinking)
    verdicts: list[bool | None] = []
    open_rows: dict[int, tuple[str, str]] = {}
    for row, (completion, gold) in enumerate(zip(completions, golds, strict=True)):
        pair = to_compare(completion, gold, layout)
        verdicts.append(quick_verdict(*pair) if isinstance(pair, tuple) else pair)
        if verdicts[row] is None and isinstance(pair, tuple):
            open_rows[row] = pair
    for row, verdict in zip(open_rows, grader.verify_all(list(open_rows.values())), strict=True):
        verdicts[row] = verdict
    return verdicts


def to_compare(completion: str, gold: Any, layout: Layout) -> tuple[str, str] | bool | None:
    """Return the spelled answer and gold; False without an answer, None without a usable gold."""
    right = gold_text(gold)
    if right is None:
        return None
    answer = find_answer(completion_text(completion, layout.thinking), *layout)
    if answer is not None and "\\boxed" in answer:
        answer = boxed(answer)  # a box inside the tag
    if answer is None or len(answer) > MAX_ANSWER:
        return False
    return spell(answer), spell(right)


def quick_verdict(answer: str, gold: str) -> bool | None:
    """Return the verdict on plain numbers and identical texts; None if the worker has to decide."""
    if answer == gold:
        return True
    given, wanted = read_plain(answer), read_plain(gold)
    if given is None and wanted is not None and LISTING.fullmatch(answer):
        return False
    return same(given, wanted) if given is not None and wanted is not None else None


def lenient_match(completion: str, gold: Any) -> bool | None:
    """Return whether the last number anywhere in a completion equals the gold; None if that is not a plain number."""
    wanted = plain_gold(gold)
    if wanted is None:
        return None
    end = completion_text(completion)[-MAX_ANSWER:]
    number = text_at(end, last_number_spans(end))
    last = read_plain(spell(number)) if number is not None else None
    return last is not None and same(last, wanted)


def plain_gold(gold: Any) -> Plain | None:
    """Return the value of a gold that is a plain number; None for any other."""
    right = gold_text(gold)
    return None if right is None else read_plain(spell(right))


def why_no_number(gold: Any) -> str | None:
    """Return why a gold is not a plain number; None if it is one."""
    return why_unusable(gold) or (None if plain_gold(gold) else "not a plain number")


@reward(judges=True, anywhere=lenient_match, unusable=why_unusable)
def math_correct(
    completions: Sequence[str], answer: Sequence[Any], *, marker: Marker = "tag", thinking: Thinking = "think"
) -> list[float | None]:
    """Return 1.0 if the final answer equals the column `answer`, 0.0 if it does not, None if that cannot be judged.

    Equal values in other forms are right: 0.5 and 1/2, 1,000 and 1000. Equality is exact or symbolic, without any
    tolerance. `marker` says where the final answer stands: `tag` for <answer>..</answer>, `boxed` for \\boxed{},
    `gsm8k` for the last `####` line, `last_number` for the last number of plain text, whatever else it says. In a
    recipe, `marker` and `thinking` follow data.marker, or data.prompt, and data.thinking.

        <answer>1/2</answer> with answer 0.5      1.0
        <answer>7 or 8</answer> with answer 7     0.0
    """
    return [None if right is None else float(right) for right in grade_all(completions, answer, marker, thinking)]


@reward(judges=True, anywhere=lenient_match, unusable=why_no_number)
def numeric_match(
    completion: str, answer: Any, *, marker: Marker = "tag", thinking: Thinking = "think"
) -> float | None:
    """Return 1.0 if the last number of the final answer has exactly the value of the column `answer`, else 0.0.

    Like `math_correct` without symbolic answers: faster, and words around the number are ignored. The value is None if
    `answer` is not a plain number.

        <answer>so it is 12</answer> with answer 12     1.0
        <answer>12.0001</answer> with answer 12         0.0
    """
    found = find_answer(completion, marker, thinking)
    right = lenient_match(found if found is not None else "", answer)
    return None if right is None else float(right)


@reward(judges=True, anywhere=lenient_match, unusable=partial(why_unusable, prose=True))
def exact_match(completion: str, answer: Any, *, marker: Marker = "tag", thinking: Thinking = "think") -> float | None:
    """Return 1.0 if the final answer is the text of the column `answer`, ignoring case and white space, else 0.0."""
    right = gold_text(answer, prose=True)
    if right is None:
        return None
    found = find_answer(completion, marker, thinking)
    return float(found is not None and folded(found) == folded(right))


def folded(text: str) -> str:
    """Return a text without differences in case and white space."""
    return " ".join(text.casefold().split())
