"""Finds repeated runs in a sequence of numbers, without comparing every pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, about 2^64 / golden ratio: separates similar numbers


def repeated(numbers: Sequence[int], ngram: int) -> np.ndarray:
    """Return which of n numbers are in a run of `ngram` numbers that occurred before, (n,) bool, in n log n time."""
    items = np.asarray(numbers, dtype=np.uint64)
    count = len(items) - ngram + 1
    if count < 2:
        return np.zeros(len(items), dtype=bool)
    runs = run_names(items, ngram)
    again: np.ndarray = np.ones(count, dtype=bool)
    again[np.unique(runs, return_index=True)[1]] = False
    # +1 where a repeated run begins, -1 after its end: the running sum counts the runs around an item.
    edges: np.ndarray = np.zeros(len(items) + 1, dtype=np.int64)
    edges[:count] += again
    edges[ngram:] -= again
    return np.cumsum(edges[:-1]) > 0


def run_names(items: np.ndarray, ngram: int) -> np.ndarray:
    """Return a number for each run of `ngram` items, the same for equal runs only, except with chance n^2 / 2^64.

    The length of the named runs doubles until two of them, which may overlap, cover `ngram` items.
    """
    names, length = items, 1
    while 2 * length <= ngram:
        names, length = combined(names[:-length], names[length:]), 2 * length
    rest = ngram - length
    return combined(names[:-rest], names[rest:]) if rest else names


def combined(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return a 64-bit name for each pair of names; the arithmetic is meant to wrap at 2^64."""
    mixed = (left ^ (left >> np.uint64(31))) * SPREAD + right
    mixed = (mixed ^ (mixed >> np.uint64(29))) * SPREAD
    return mixed ^ (mixed >> np.uint64(32))
