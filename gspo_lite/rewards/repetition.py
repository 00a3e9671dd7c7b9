"""A penalty for repetition, over tokens or words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Any, Literal

from pydantic import Field

from gspo_lite.completion.marks import Score, Span
from gspo_lite.rewards.contract.registry import reward
from gspo_lite.rewards.length import token_count

WORD = re.compile(r"\S+")


def spans_need_words(options: dict[str, Any]) -> str | None:
    """Return why spans cannot be given; None if they can."""
    if options["spans"] and options["unit"] == "tokens":
        return "option `spans`: a reward does not know which characters a token covers; use it with `unit: words`"
    return None


@reward(check=spans_need_words)
def repetition_penalty(
    completion: str,
    completion_ids: Sequence[int],
    *,
    ngram: Annotated[int, Field(ge=1, le=1000)] = 40,
    unit: Literal["tokens", "words"] = "tokens",
    spans: bool = False,
) -> float | Score:
    """Return minus the share of a completion that is repeated: 0 without repetition, towards -1 for a loop.

    With n the number of tokens (or words), and R those in a run of `ngram` tokens that occurred before:

        -|R| / n

    The first occurrence of a run costs nothing. Yeo et al. 2025 (arXiv 2502.03373) penalize each token of R
    separately, with an `ngram` of 40; here the share of R is the penalty of the completion. `unit: words` splits at
    white space: use about half the `ngram`, and tokens for languages without spaces. With `spans` the reward applies
    only to the repeated words, for advantages per token.

        a b c d       with ngram 2       0
        a b a b       with ngram 2      -0.5
    """
    from gspo_lite.completion.ngrams import repeated  # imports numpy, which slows down listing the rewards

    if unit == "tokens":
        token_count(completion_ids)
        return penalty(repeated(completion_ids, ngram))
    found = [match.span() for match in WORD.finditer(completion)]
    numbers: dict[str, int] = {}
    words = [numbers.setdefault(completion[start:end], len(numbers)) for start, end in found]
    inside = repeated(words, ngram)
    value = penalty(inside)
    return Score(value, stretches(inside, found)) if spans else value


def penalty(inside: Any) -> float:
    """Return minus the share of entries that are true."""
    return -float(inside.mean()) if inside.any() else 0.0


def stretches(inside: Any, places: Sequence[tuple[int, int]]) -> list[Span]:
    """Return the span of each stretch of repeated words, from its first to its last character."""
    spans = []
    for is_inside, group in groupby(zip(inside.tolist(), places, strict=True), key=lambda pair: pair[0]):
        if is_inside:
            words = [place for _, place in group]
            spans.append((words[0][0], words[-1][1], 1.0))
    return spans
