"""A penalty for saying the same again, over tokens or words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from gspo_lite.credit import Score, Span
from gspo_lite.rewards.length import token_count
from gspo_lite.rewards.registry import reward

WORD = re.compile(r"\S+")
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, about 2^64 over the golden ratio: spreads what differs little


def tokens_have_no_place(options: dict[str, Any]) -> str | None:
    """Why spans cannot be given; None where they can."""
    if options["spans"] and options["unit"] == "tokens":
        return "option `spans`: a token's characters are not known to a reward; expected `unit: words` with it"
    return None


@reward(check=tokens_have_no_place)
def repetition_penalty(
    completion: str,
    completion_ids: Sequence[int],
    *,
    ngram: Annotated[int, Field(ge=1, le=1000)] = 40,
    unit: Literal["tokens", "words"] = "tokens",
    spans: bool = False,
) -> float | Score:
    """Minus the share of a completion that repeats it: 0 without repetition, towards -1 for a loop.

    With n the number of tokens (or words) and R those that lie in a run of `ngram` tokens which stood before:

        -|R| / n

    The run's first occurrence costs nothing. Yeo et al. 2025 (arXiv 2502.03373) give each token of R a penalty of its
    own, with an `ngram` of 40; here their share is the reward of the completion. `unit: words` splits at white space:
    use about half the `ngram`, and tokens for languages without spaces. With `spans` the reward speaks about the
    repeated words only, for advantages per token.

        a b c d       with ngram 2       0
        a b a b       with ngram 2      -0.5
    """
    if unit == "tokens":
        token_count(completion_ids)
        return penalty(repeated(np.asarray(completion_ids, dtype=np.uint64), ngram))
    found = [match.span() for match in WORD.finditer(completion)]
    numbers: dict[str, int] = {}
    words = [numbers.setdefault(completion[start:end], len(numbers)) for start, end in found]
    inside = repeated(np.asarray(words, dtype=np.uint64), ngram)
    value = penalty(inside)
    return Score(value, stretches(inside, found)) if spans else value


def penalty(inside: np.ndarray) -> float:
    """Minus the share of the true ones."""
    return -float(inside.mean()) if inside.any() else 0.0


def repeated(items: np.ndarray, ngram: int) -> np.ndarray:
    """Which items lie in a run of `ngram` items that occurred before: (n,) uint64 to (n,) bool, in n log n."""
    count = len(items) - ngram + 1
    if count < 2:
        return np.zeros(len(items), dtype=bool)
    runs = run_names(items, ngram)
    again: np.ndarray = np.ones(count, dtype=bool)
    again[np.unique(runs, return_index=True)[1]] = False
    # +1 where a repeated run begins, -1 behind its end: the sum so far is the number of runs around an item.
    edges: np.ndarray = np.zeros(len(items) + 1, dtype=np.int64)
    edges[:count] += again
    edges[ngram:] -= again
    return np.cumsum(edges[:-1]) > 0


def run_names(items: np.ndarray, ngram: int) -> np.ndarray:
    """A number for each run of `ngram` items, equal for equal runs and, but for a chance of n^2 / 2^64, only for them.

    Doubles the length of the named runs until two of them, which may overlap, cover `ngram` items.
    """
    names, length = items, 1
    while 2 * length <= ngram:
        names, length = combined(names[:-length], names[length:]), 2 * length
    rest = ngram - length
    return combined(names[:-rest], names[rest:]) if rest else names


def combined(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A 64-bit name for each pair of names; arithmetic modulo 2^64 is meant."""
    mixed = (left ^ (left >> np.uint64(31))) * SPREAD + right
    mixed = (mixed ^ (mixed >> np.uint64(29))) * SPREAD
    return mixed ^ (mixed >> np.uint64(32))


def stretches(inside: np.ndarray, places: Sequence[tuple[int, int]]) -> list[Span]:
    """From the first to the last character of each stretch of repeated words."""
    spans = []
    for is_inside, group in groupby(zip(inside.tolist(), places, strict=True), key=lambda pair: pair[0]):
        if is_inside:
            words = [place for _, place in group]
            spans.append((words[0][0], words[-1][1], 1.0))
    return spans
