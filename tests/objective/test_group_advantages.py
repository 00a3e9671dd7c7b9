"""`group_advantages` on values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from gspo_lite.objective import group_advantages

NAN = float("nan")
FLOOR = 1e-4


def advantages(rewards, num_generations, **options):
    return group_advantages(torch.tensor(rewards, dtype=torch.float64), num_generations, **options).tolist()


ROOT_HALF = math.sqrt(1 / 2)  # unbiased standard deviation of (0, 1)
TABLE = [  # rewards, group size, scale, advantages
    ([0.0, 1.0], 2, "group", [-0.5 / (ROOT_HALF + FLOOR), 0.5 / (ROOT_HALF + FLOOR)]),
    ([1.0, 2.0, 3.0], 3, "group", [-1 / (1 + FLOOR), 0.0, 1 / (1 + FLOOR)]),  # std of 1, 2, 3 is 1
    ([0.0, 2.0, 10.0, 10.0], 2, "none", [-1.0, 1.0, 0.0, 0.0]),
    # batch: mean 5.5, squares 30.25 + 12.25 + 20.25 + 20.25 = 83, over 3
    ([0.0, 2.0, 10.0, 10.0], 2, "batch", [-1 / (math.sqrt(83 / 3) + FLOOR), 1 / (math.sqrt(83 / 3) + FLOOR), 0.0, 0.0]),
    ([0.0, NAN, 1.0, 1.0, 1.0, 1.0], 3, "group", [-0.5 / (ROOT_HALF + FLOOR), 0, 0.5 / (ROOT_HALF + FLOOR), 0, 0, 0]),
    ([1.0, NAN, NAN, NAN], 2, "group", [0.0, 0.0, 0.0, 0.0]),  # one judged has nothing to compare with
    ([0.0, 1.0, NAN, NAN], 2, "batch", [-0.5 / (ROOT_HALF + FLOOR), 0.5 / (ROOT_HALF + FLOOR), 0.0, 0.0]),
    ([5.0, NAN], 2, "none", [0.0, 0.0]),
    ([3.0, 4.0], 1, "group", [0.0, 0.0]),
    ([3.0], 1, "batch", [0.0]),
]


@pytest.mark.parametrize(("rewards", "num_generations", "scale", "expected"), TABLE)
def test_advantages_are_the_distance_to_the_group_over_its_spread(rewards, num_generations, scale, expected):
    found = advantages(rewards, num_generations, scale_rewards=scale)
    assert found == [pytest.approx(value, abs=1e-12) for value in expected]


def test_scale_is_the_group_unless_said_otherwise():
    assert advantages([0.0, 1.0, 0.0, 3.0], 2) == advantages([0.0, 1.0, 0.0, 3.0], 2, scale_rewards="group")
    assert advantages([0.0, 1.0, 0.0, 3.0], 2) != advantages([0.0, 1.0, 0.0, 3.0], 2, scale_rewards="batch")


def test_equal_rewards_give_no_signal_even_where_their_mean_is_rounded():
    found = group_advantages(torch.full((8,), 0.1, dtype=torch.float32), 8)
    assert found.abs().max().item() < 1e-10
    assert found.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64])
def test_narrow_rewards_give_float32(dtype):
    found = group_advantages(torch.tensor([1, 3], dtype=dtype), 2)
    assert found.dtype == torch.float32
    assert found.tolist() == [pytest.approx(-1 / (math.sqrt(2) + FLOOR)), pytest.approx(1 / (math.sqrt(2) + FLOOR))]


@pytest.mark.parametrize(
    ("rewards", "num_generations", "scale", "message"),
    [
        ([1.0, 2.0, 3.0], 2, "group", "`shape of rewards` is `(3,)`; expected (N,) with N a multiple of"),
        ([[1.0, 2.0]], 2, "group", "`shape of rewards` is `(1, 2)`; expected (N,)"),
        ([1.0], 0, "group", "`num_generations` is `0`; expected at least 1"),
        ([1.0, 2.0], 2, "std", "`scale_rewards` is `std`; expected one of `group`, `batch`, `none`"),
        ([1.0, float("inf")], 2, "none", "`rewards` is `infinite in places`; expected numbers, or NaN"),
    ],
)
def test_a_wrong_call_says_what_was_found_and_what_is_allowed(rewards, num_generations, scale, message):
    with pytest.raises(ValueError, match="expected") as caught:
        advantages(rewards, num_generations, scale_rewards=scale)
    assert str(caught.value).startswith(message)
