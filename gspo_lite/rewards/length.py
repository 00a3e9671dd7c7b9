"""Rewards for the length of a completion, always counted in tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from gspo_lite.completion.markers import Marker
from gspo_lite.completion.thinking import Thinking
from gspo_lite.errors import RewardError
from gspo_lite.rewards.contract.registry import reward
from gspo_lite.rewards.math import grade_all


@reward
def soft_overlong(
    completion_ids: Sequence[int], *, max_length: Annotated[int, Field(ge=1)], cache: Annotated[int, Field(ge=1)]
) -> float:
    """Return 0 for short completions, falling to -1 over the last `cache` tokens before `max_length`.

    With L the number of tokens (DAPO, arXiv 2503.14476, equation 13):

        L <= max_length - cache                   0
        max_length - cache < L <= max_length      (max_length - cache - L) / cache
        L > max_length                           -1

    Combine it with a correctness reward, and set `max_length` to the recipe's max_completion_length.
    """
    over = token_count(completion_ids) - (max_length - cache)
    return -min(max(over, 0), cache) / cache


def token_count(completion_ids: Sequence[int] | None) -> int:
    """Return the number of tokens of a completion; raise RewardError if the caller gave none."""
    if completion_ids is None:
        raise RewardError("a token-counting reward was called without `completion_ids`, the tokens of each completion")
    return len(completion_ids)


def wrong_order(options: dict[str, Any]) -> str | None:
    """Return why the values of `cosine_length` would reward the wrong thing; None if they do not."""
    right = options["correct_long"], options["correct_short"]
    wrong = options["wrong_short"], options["wrong_long"]
    if right[0] > right[1] or wrong[0] > wrong[1]:
        return "expected correct_short >= correct_long and wrong_long >= wrong_short"
    if wrong[1] >= right[0] or options["exceeded"] > wrong[1]:
        return "expected every correct value above every wrong one, and `exceeded` not above `wrong_long`"
    return None


@reward(check=wrong_order)
def cosine_length(
    completions: Sequence[str],
    completion_ids: Sequence[Sequence[int]],
    answer: Sequence[Any],
    *,
    max_length: Annotated[int, Field(ge=1)],
    correct_short: float = 2.0,
    correct_long: float = 1.0,
    wrong_short: float = -10.0,
    wrong_long: float = 0.0,
    exceeded: float = -10.0,
    marker: Marker = "tag",
    thinking: Thinking = "think",
) -> list[float | None]:
    """Return correctness on a cosine of the length: right answers earn more if short, wrong ones lose less if long.

    With L the number of tokens, and `short` and `long` those for right or for wrong answers (cosine reward of Yeo et
    al. 2025, arXiv 2502.03373, whose values are the defaults):

        L < max_length       long + (short - long) * (1 + cos(pi * L / max_length)) / 2
        L >= max_length      exceeded

    Use it instead of `math_correct`, which does its grading (column `answer`, option `marker`); the value is None if
    that cannot judge. Set `max_length` to the recipe's max_completion_length: a completion that reaches it was cut off.
    """
    corners = {True: (correct_short, correct_long), False: (wrong_short, wrong_long)}
    values: list[float | None] = []
    for right, ids in zip(grade_all(completions, answer, marker, thinking), completion_ids, strict=True):
        length = token_count(ids)
        if right is None:
            values.append(None)
        elif length >= max_length:
            values.append(exceeded)
        else:
            short, long = corners[right]
            values.append(long + (short - long) * (1 + math.cos(math.pi * length / max_length)) / 2)
    return values


@reward
def length_penalty(
    completions: Sequence[str],
    completion_ids: Sequence[Sequence[int]],
    prompts: Sequence[Any],
    answer: Sequence[Any],
    *,
    marker: Marker = "tag",
    thinking: Thinking = "think",
) -> list[float | None]:
    """Return 0.5 for the shortest completion of a group, falling to -0.5 for the longest (Kimi k1.5, arXiv 2501.12599).

    With L the number of tokens, and min and max over all completions of the group, right or wrong (the paper's length
    reward, to be added to correctness with a weight):

        lambda = 0.5 - (L - min) / (max - min)
        right answer      lambda
        wrong answer      min(0, lambda)
        max = min         0 for the whole group

    The group is all rows of one call with the same prompt. The value is None if the answer cannot be graded (column
    `answer`, option `marker`), but its length still counts. The paper does not use this reward early in training.
    """
    lengths = [token_count(ids) for ids in completion_ids]
    groups = [prompt_key(prompt) for prompt in prompts]
    members: dict[str, list[int]] = {}
    for group, length in zip(groups, lengths, strict=True):
        members.setdefault(group, []).append(length)
    ends = {group: (min(found), max(found)) for group, found in members.items()}
    verdicts = grade_all(completions, answer, marker, thinking)
    rows = zip(verdicts, lengths, groups, strict=True)
    return [None if right is None else shortness(right, length, *ends[group]) for right, length, group in rows]


def shortness(right: bool, length: int, shortest: int, longest: int) -> float:
    """Return the `length_penalty` of one completion; lengths in tokens."""
    if longest == shortest:
        return 0.0
    value = 0.5 - (length - shortest) / (longest - shortest)
    return value if right else min(0.0, value)


def prompt_key(prompt: Any) -> str:
    """Return a key that is equal for equal prompts (strings or message lists); raise RewardError without a prompt."""
    if prompt is None:
        raise RewardError("`length_penalty` was called without `prompts`, which it needs to find the groups")
    return repr(prompt)
