"""The embedded task: additions made from a seed, so that any recipe runs without a download.

    {"question": "What is 47 + 85?", "answer": "132"}

Owns the problems, their split into train and held-out, and the worked solution of one. Must not know the model.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from gspo_lite.errors import UsageError

DIGITS = {"easy": 2, "hard": 3}
SPLITS = ("train", "test")
HELD_OUT = 600
SEED = 2507  # of the published problems; changing it changes every figure in RESULTS.md
PROBLEMS = 3600  # of each difficulty, nine tenths of all there are of the easy one


def problems(split: str, difficulty: str | None = None, limit: int | None = None) -> list[dict[str, str]]:
    """List the problems of one split, always in the same order.

    Args:
        split: `train` or `test`. No sum of one is in the other, not even with its numbers swapped.
        difficulty: `easy` adds numbers of two digits, `hard` of three; `easy` if left out.
        limit: keep the first so many.

    Raises:
        UsageError: for another split or difficulty.
    """
    if split not in SPLITS:
        raise UsageError(f"`arithmetic` has no split `{split}`; allowed: {', '.join(f'`{s}`' for s in SPLITS)}")
    pairs = pairs_of(split, difficulty or "easy")
    return [{"question": f"What is {a} + {b}?", "answer": str(a + b)} for a, b in pairs[:limit]]


def pairs_of(split: str, difficulty: str) -> list[tuple[int, int]]:
    """The numbers behind `problems`: pairs to be added, of one split."""
    if difficulty not in DIGITS:
        allowed = ", ".join(f"`{name}`" for name in DIGITS)
        raise UsageError(f"`arithmetic` has no difficulty `{difficulty}`; allowed: {allowed}", "set data.subset")
    rng = random.Random(f"{SEED} {difficulty}")
    low, high = 10 ** (DIGITS[difficulty] - 1), 10 ** DIGITS[difficulty] - 1
    chosen: dict[tuple[int, int], tuple[int, int]] = {}  # keyed by the sorted pair: 4 + 7 and 7 + 4 share a split
    while len(chosen) < PROBLEMS:
        a, b = rng.randint(low, high), rng.randint(low, high)
        chosen.setdefault((min(a, b), max(a, b)), (a, b))
    pairs = list(chosen.values())
    return pairs[:HELD_OUT] if split == "test" else pairs[HELD_OUT:]


def columns(a: int, b: int) -> Iterator[tuple[int, int]]:
    """Digits of `a` and `b` that stand above each other, from the ones upwards."""
    while a or b:
        yield a % 10, b % 10
        a, b = a // 10, b // 10
