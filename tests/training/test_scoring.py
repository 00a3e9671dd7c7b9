"""A rollout's rewards: the stop where nothing is judged, and what is written about each reward."""

import math
from collections import deque
from types import SimpleNamespace

import pytest
import torch

from gspo_lite.errors import RunError
from gspo_lite.rewards.contract.guarded import GuardedReward
from gspo_lite.training.scoring import UnscoredRollouts, alike, call_metrics, drop_rounding

NOTHING = [{"rewards": {"a": None, "b": 1.0}}, {"rewards": {"a": math.nan, "b": None}}]
SOMETHING = [{"rewards": {"a": math.nan, "b": 1.0}}, {"rewards": {"a": 0.0, "b": None}}]
WEIGHTS = [1.0, 0.0]


def test_sums_are_alike_where_only_rounding_tells_them_apart():
    rounded = torch.tensor([0.1 + 0.2, 0.3], dtype=torch.float64)
    assert rounded[0] != rounded[1]
    rows = [[0.1 + 0.2, 0.3, 0.3], [0.3, 0.3, 0.3001], [math.nan, 0.3, 0.3], [math.nan] * 3, [0.0, 1.0, math.nan],
            [1e6, 1e6 + 0.06, 1e6], [1e6, 1e6 + 2.0, 1e6], [0.0, math.inf, 0.0]]  # fmt: skip
    assert alike(torch.tensor(rows, dtype=torch.float64)).tolist() == [
        True, False, True, True, False, True, False, False]  # fmt: skip


@pytest.mark.parametrize(("scale", "share"), [("group", 0.5), ("none", 0.5), ("batch", 0.0)])
def test_advantages_of_groups_paid_alike_become_0_for_this_process_and_in_the_log(scale, share):
    rewards = torch.tensor([[0.2], [0.2], [0.0], [1.0], [0.7], [0.7], [0.0], [1.0]])
    made = [3e-4, 3e-4, -1.0, 1.0, -1e-4, -1e-4, -1.0, 1.0]
    trainer = SimpleNamespace(
        multi_objective_aggregation="sum_then_normalize", reward_weights=torch.tensor([1.0]), num_generations=2,
        scale_rewards=scale, accelerator=SimpleNamespace(process_index=1),
        _logs={"advantages": deque([9.0, *made])}, _metrics={"train": {"frac_reward_zero_std": [0.0]}},
    )  # fmt: skip
    output = {"advantages": torch.tensor(made[4:])}
    drop_rounding(trainer, rewards, output)
    assert output["advantages"].tolist() == [0.0, 0.0, -1.0, 1.0]
    assert list(trainer._logs["advantages"]) == [9.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0, -1.0, 1.0]
    assert trainer._metrics["train"]["frac_reward_zero_std"] == [share]


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
