"""The sum of a completion's rewards, R = sum_k w_k r_k: what a run optimizes, and when the sums of a group are equal.

Owns the sum and its tolerance for training, preview and the reward lab.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

EQUAL = 1e-6  # relative to the largest sum or to 1; smaller differences are rounding


def weighted_sum(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """Return R of one completion; None if no reward could judge it.

    Args:
        values: r_k of each reward, (K,); None or NaN if reward k could not judge the completion, counted as 0.
        weights: w_k, (K,).
    """
    judged = [weight * value for weight, value in zip(weights, values, strict=True) if is_known(value)]  # type: ignore[operator]
    return sum(judged) if judged else None


def is_known(value: float | None) -> bool:
    """Return whether a reward gave this completion a value."""
    return value is not None and not math.isnan(value)


def exceeds(first: float, second: float) -> bool:
    """Return whether one sum is larger than another by more than rounding."""
    return first > second and not all_equal([first, second])


def all_equal(sums: Sequence[float | None]) -> bool:
    """Return whether the sums of a group are equal up to rounding; None is left out.

    Eight rewards of 0.2 have a float32 mean that is not 0.2, so an exact comparison would find variance.
    """
    known = [value for value in sums if value is not None]
    if not known:
        return True
    largest = max((abs(value) for value in known if math.isfinite(value)), default=0.0)
    return max(known) - min(known) <= EQUAL * max(largest, 1.0)
