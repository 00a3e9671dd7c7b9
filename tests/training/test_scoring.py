"""A rollout's rewards: the stop where nothing is judged, and what is written about each reward."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from gspo_lite.data.keys import key_of
from gspo_lite.errors import RunError
from gspo_lite.rewards.contract.guarded import Call, GuardedReward
from gspo_lite.training.scoring import (
    Scored,
    UnscoredRollouts,
    call_metrics,
    drop_rounding,
    scored_rows,
    turn_advantages_of,
)

NOTHING = [{"rewards": {"a": None, "b": 1.0}}, {"rewards": {"a": math.nan, "b": None}}]
SOMETHING = [{"rewards": {"a": math.nan, "b": 1.0}}, {"rewards": {"a": 0.0, "b": None}}]
WEIGHTS = [1.0, 0.0]


@pytest.mark.parametrize(("scale", "share"), [("group", 0.5), ("none", 0.5), ("batch", 0.0)])
def test_advantages_of_groups_with_equal_rewards_become_0_for_this_process(scale, share):
    rewards = torch.tensor([[0.2], [0.2], [0.0], [1.0], [0.7], [0.7], [0.0], [1.0]])
    trainer = SimpleNamespace(
        multi_objective_aggregation="sum_then_normalize", reward_weights=torch.tensor([1.0]), num_generations=2,
        scale_rewards=scale, accelerator=SimpleNamespace(process_index=1),
        _metrics={"train": {"frac_reward_zero_std": [0.0]}},
    )  # fmt: skip
    output = {"advantages": torch.tensor([-1e-4, -1e-4, -1.0, 1.0])}
    drop_rounding(trainer, rewards, output)
    assert output["advantages"].tolist() == [0.0, 0.0, -1.0, 1.0]
    assert trainer._metrics["train"]["frac_reward_zero_std"] == [share]


class Letters:
    """A tokenizer whose ids are code points; 0 is padding."""

    def batch_decode(self, rows, skip_special_tokens):
        return ["".join(map(chr, ids)) for ids in rows]


def test_rows_come_from_what_was_scored_and_from_the_inputs():
    said = [[{"role": "assistant", "content": "seven"}], [{"role": "assistant", "content": "eight"}]]
    rewards = torch.tensor([[9.0, 9.0], [9.0, 9.0], [1.0, math.nan], [0.0, 0.5]])  # this process has the second half
    call = Call("a", [1.0, 0.0], [1.0, 0.0], 0, 0.1, {"parsed": ["7", None]})
    scored = Scored([{"prompt": "?", "answer": "7"}, {"prompt": "!"}], said, [[5, 6], (7,)], rewards, [call])
    reads_ids = GuardedReward(lambda completion_ids: [], "a", 1.0, [])
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(process_index=1), reward_funcs=[SimpleNamespace(layout=None), reads_ids],
        reward_func_names=["a", "b"], processing_class=Letters(),
    )  # fmt: skip
    output = {
        "prompt_ids": torch.tensor([[0, 104, 105], [65, 66, 67]]), "prompt_mask": torch.tensor([[0, 1, 1], [1, 1, 1]]),
        "advantages": torch.tensor([1.0, -1.0]),
    }  # fmt: skip
    assert scored_rows(trainer, scored, output) == [
        {"problem_key": key_of({"prompt": "?", "answer": "7"}), "prompt": "?", "completion": "seven", "answer": "7",
         "extracted": None, "rewards": {"a": 1.0, "b": None}, "advantage": 1.0, "completion_ids": [5, 6],
         "extra": {"a": {"parsed": "7"}}},
        {"problem_key": key_of({"prompt": "!"}), "prompt": "!", "completion": "eight", "answer": None,
         "extracted": None, "rewards": {"a": 0.0, "b": 0.5}, "advantage": -1.0, "completion_ids": [7],
         "extra": {"a": {"parsed": None}}},
    ]  # fmt: skip
    trainer.reward_funcs, scored = trainer.reward_funcs[:1], replace(scored, calls=[])
    assert [{"completion_ids", "extra"} & set(row) for row in scored_rows(trainer, scored, output)] == [set(), set()]


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


def test_figures_of_each_call_are_metrics():
    call = Call("one", [1.0, None, None], [1.0, None, None], 1, 0.25)
    assert call_metrics([call]) == {
        "rewards/one/none_count": 2.0, "rewards/one/error_count": 1.0, "rewards/one/seconds": 0.25}  # fmt: skip


@pytest.mark.parametrize(
    ("advantages", "by_turn"),
    [([1.0, 3.0, 9.0, 9.0, -2.0, 7.0], [2.0, -2.0]), (0.5, [0.5, 0.5])],  # the last token is padding
)
def test_a_turn_has_the_mean_advantage_of_its_tokens(advantages, by_turn):
    masks = {"tool_mask": torch.tensor([[1, 1, 0, 0, 1, 1]]), "completion_mask": torch.tensor([[1, 1, 1, 1, 1, 0]])}
    assert turn_advantages_of({**masks, "advantages": torch.tensor([advantages])}, 0) == by_turn
