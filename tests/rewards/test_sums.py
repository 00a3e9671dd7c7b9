"""The sum of rewards that a run optimises, and when two sums are the same."""

import math

import pytest

from gspo_lite.rewards.contract.sums import all_equal, weighted_sum


def test_the_sum_weighs_what_could_be_judged():
    assert weighted_sum([1.0, 0.5, None], [1.0, 0.2, 3.0]) == 1.1  # 1 x 1 + 0.5 x 0.2; None counts as 0
    assert weighted_sum([math.nan, 0.5], [1.0, 2.0]) == 1.0
    assert weighted_sum([None, math.nan], [1.0, 2.0]) is None


@pytest.mark.parametrize(
    ("sums", "equal"),
    [
        ([0.1 + 0.2, 0.3, 0.3], True),  # they differ by 6e-17
        ([0.3, 0.3, 0.3001], False),
        ([None, 0.3, 0.3], True),
        ([None, None], True),
        ([0.0, 1.0, None], False),
        ([1e6, 1e6 + 0.06, 1e6], True),  # 6e-8 of the largest
        ([1e6, 1e6 + 2.0, 1e6], False),
        ([0.0, math.inf, 0.0], False),
    ],
)
def test_sums_are_equal_where_only_rounding_tells_them_apart(sums, equal):
    assert all_equal(sums) is equal
