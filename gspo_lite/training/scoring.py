"""Scored rows of a rollout, groups without variance, the figures of each reward's call, and a stop if none judges.

Owns the metrics `rewards/<name>/none_count`, `error_count` and `seconds`. Must not change rewards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gspo_lite.completion.marks import Turns
from gspo_lite.completion.text import completion_text, first_layout
from gspo_lite.credit import turn_numbers
from gspo_lite.data.keys import key_of
from gspo_lite.errors import RunError
from gspo_lite.rewards.contract.guarded import Call, GuardedReward
from gspo_lite.rewards.contract.sums import all_equal, is_known, weighted_sum
from gspo_lite.system.processes import gathered
from gspo_lite.tools.turns import TURNS, turns_told

ZERO_STD = "frac_reward_zero_std"


@dataclass(frozen=True)
class Scored:
    """The completions of this process as the rewards saw them.

    Attributes:
        inputs: each completion's row of the data, N.
        completions: texts or lists of messages, N.
        completion_ids: token ids, N.
        rewards: of all processes, (N x processes, K), in whole groups; NaN where not judged.
        calls: the call of each guarded reward; reward models have none.
    """

    inputs: list[dict[str, Any]]
    completions: list[Any]
    completion_ids: list[Any]
    rewards: torch.Tensor
    calls: list[Call]

    def marks(self, names: Sequence[str]) -> list[Sequence[Any]]:
        """Return each reward's values, `Score`s and `Steps` by completion; nothing for a reward model."""
        called = {call.name: call.marks for call in self.calls}
        return [called.get(name, ()) for name in names]

    def extra(self, row: int) -> dict[str, dict[str, Any]]:
        """Return what each reward logged about a completion, by reward and column."""
        return {call.name: call.extra_of(row) for call in self.calls if call.extra}


def drop_rounding(trainer: Any, rewards: torch.Tensor, output: dict[str, Any]) -> None:
    """Set advantages to 0 in groups with equal rewards, where (R - mean) / std is 0 but for rounding.

    In float32 eight rewards of 0.2 have a mean other than 0.2 and a deviation of 2e-8, which TRL takes for variance:
    their advantages are about 1e-4 instead of 0. If no other group teaches, Adam turns them into full steps.

    Args:
        rewards: (N, K) of all processes, in whole groups.
        output: the tensors of this process; its advantages (B,) are replaced.
    """
    if trainer.multi_objective_aggregation != "sum_then_normalize":
        return
    sums, group = sums_of(rewards, trainer.reward_weights.tolist()), trainer.num_generations
    flat = [all_equal(sums[start : start + group]) for start in range(0, len(sums), group)]
    rows, size = torch.tensor(flat).repeat_interleave(group), len(output["advantages"])
    start = trainer.accelerator.process_index * size
    mask = rows[start : start + size].to(output["advantages"].device)
    output["advantages"] = output["advantages"].masked_fill(mask, 0.0)
    whole = [all_equal(sums)] if trainer.scale_rewards == "batch" else flat
    trainer._metrics["train"][ZERO_STD][-1] = sum(whole) / len(whole)


def sums_of(rewards: torch.Tensor, weights: Sequence[float]) -> list[float | None]:
    """Return R of each row of rewards (N, K)."""
    return [weighted_sum(row, weights) for row in rewards.tolist()]


def call_metrics(calls: Iterable[Call]) -> dict[str, float]:
    """Return the figures of each reward's call, by metric."""
    fields = ("none_count", "error_count", "seconds")
    return {f"rewards/{call.name}/{field}": float(getattr(call, field)) for call in calls for field in fields}


def scored_rows(trainer: Any, scored: Scored, output: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row per completion of this process; `output` holds its tensors, with advantages (B,).

    `problem_key` is that of its row of the data. `completion_ids` are kept where a reward may read them, and `extra` is
    what rewards logged, so that completions.jsonl has all that a reward was given.
    """
    start = trainer.accelerator.process_index * len(scored.inputs)
    rewards = scored.rewards[start : start + len(scored.inputs)].tolist()
    finder = next((one for one in trainer.reward_funcs if getattr(one, "layout", None)), None)
    thinking = first_layout(getattr(one, "layout", None) for one in trainer.reward_funcs).thinking
    texts = [completion_text(completion, thinking) for completion in scored.completions]
    with_ids = any(isinstance(one, GuardedReward) and one.reads("completion_ids") for one in trainer.reward_funcs)
    return [
        {
            "problem_key": key_of(scored.inputs[row]),
            "prompt": scored.inputs[row].get("prompt", ""),  # an environment may bring its own
            "completion": text,
            "answer": scored.inputs[row].get("answer"),
            "extracted": finder.extracted(text) if finder is not None else None,
            "rewards": {
                name: None if math.isnan(value) else value
                for name, value in zip(trainer.reward_func_names, rewards[row], strict=True)
            },
            "advantage": advantage,
            **({"completion_ids": [int(token) for token in scored.completion_ids[row]]} if with_ids else {}),
            **({"extra": extra} if (extra := scored.extra(row)) else {}),
        }
        for row, (text, advantage) in enumerate(zip(texts, output["advantages"].tolist(), strict=True))
    ]


def give_turns(trainer: Any, scored: Scored, output: dict[str, Any]) -> None:
    """Tell the conversation of each row of `trainer.rollout` turn by turn, with the advantage of each of its turns."""
    thinking = first_layout(getattr(one, "layout", None) for one in trainer.reward_funcs).thinking
    marks = dict(zip(trainer.reward_func_names, scored.marks(trainer.reward_func_names), strict=True))
    for row, (episode, told) in enumerate(zip(trainer.episodes, trainer.rollout, strict=True)):
        valued = {name: one[row].values for name, one in marks.items() if one and isinstance(one[row], Turns)}
        advantages = turn_advantages_of(output, row)
        told[TURNS] = turns_told(
            scored.completions[row], episode.calls, thinking, advantages=advantages, rewards=valued
        )


def turn_advantages_of(output: dict[str, Any], row: int) -> list[float]:
    """Return the advantage of each of the model's turns in a completion, the mean of its tokens'."""
    own = output["tool_mask"][row].bool() & output["completion_mask"][row].bool()
    numbers = torch.tensor(turn_numbers(own.tolist()))
    advantages = output["advantages"][row].cpu().expand(len(numbers))
    return [float(advantages[numbers == turn].mean()) for turn in range(1, int(numbers.max()) + 1)]


class UnscoredRollouts:
    """Stops a run whose rewards no longer judge anything: every further step would be wasted silently."""

    def __init__(self, limit: int | None):
        self.limit, self.in_a_row = limit, 0

    def take(self, rollout: Sequence[dict[str, Any]], weights: Sequence[float]) -> None:
        """Count a scored rollout; raise RunError after `limit` in a row without a completion that was judged.

        Rewards with weight 0 do not count, because they teach nothing.
        """
        judged = any(
            weight != 0 and is_known(value)
            for row in rollout
            for weight, value in zip(weights, row["rewards"].values(), strict=True)
        )
        self.in_a_row = 0 if any(gathered(judged)) else self.in_a_row + 1
        if self.limit is not None and self.in_a_row >= self.limit:
            names = ", ".join(f"`{name}`" for name in rollout[0]["rewards"])
            raise RunError(
                f"in {self.in_a_row} rollouts in a row no reward with a weight could judge any completion ({names})",
                "rewards/<name>/none_count and error_count in metrics.jsonl show where this began; "
                "training.max_unscored_rollouts sets this limit",
            )
