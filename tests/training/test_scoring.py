"""A rollout's rewards: the stop where nothing is judged, and what is written about each reward."""

import math

import pytest

from gspo_lite.errors import RunError
from gspo_lite.rewards.contract import GuardedReward
from gspo_lite.training.scoring import UnscoredRollouts, call_metrics

NOTHING = [{"rewards": {"a": None, "b": 1.0}}, {"rewards": {"a": math.nan, "b": None}}]
SOMETHING = [{"rewards": {"a": math.nan, "b": 1.0}}, {"rewards": {"a": 0.0, "b": None}}]
WEIGHTS = [1.0, 0.0]


def test_three_rollouts_in_a_row_that_nobody_can_judge_stop_the_run():
    unscored = UnscoredRollouts(3)
    for rollout in (NOTHING, NOTHING, SOMETHING, NOTHING, NOTHING):
        unscored.take(rollout, WEIGHTS)
    with pytest.raises(RunError, match=r"in 3 rollouts in a row no reward with a weight could judge .*`a`, `b`"):
        unscored.take(NOTHING, WEIGHTS)


def test_the_stop_can_be_turned_off():
    unscored = UnscoredRollouts(None)
    for _ in range(9):
        unscored.take(NOTHING, WEIGHTS)


def test_figures_of_each_reward_are_metrics_and_a_reward_model_has_none():
    one = GuardedReward(lambda completions, **columns: [1.0, None], "one", 1.0, [])
    one(completions=["a", "b"])
    metrics = call_metrics([one, object()])
    assert metrics.pop("rewards/one/seconds") > 0
    assert metrics == {"rewards/one/none_count": 1.0, "rewards/one/error_count": 0.0}
