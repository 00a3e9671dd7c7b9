"""Rewards for the length of a completion, in tokens, never in characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from gspo_lite.rewards.registry import reward


@reward
def soft_overlong(
    completion_ids: Sequence[int], *, max_length: Annotated[int, Field(ge=1)], cache: Annotated[int, Field(ge=1)]
) -> float:
    """0 for short completions, falling to -1 over the last `cache` tokens before `max_length` (DAPO, arXiv 2503.14476).

    With L the number of tokens (equation 13 of the paper):

        L <= max_length - cache                   0
        max_length - cache < L <= max_length      (max_length - cache - L) / cache
        L > max_length                           -1

    Give it a weight beside a correctness reward, and as `max_length` the recipe's max_completion_length.
    """
    over = len(completion_ids) - (max_length - cache)
    return -min(max(over, 0), cache) / cache
