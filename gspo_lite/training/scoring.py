"""What a rollout's rewards amount to: scored rows, groups without variance, figures of each reward's call, a stop where
nothing is judged.

Owns which groups are paid alike, and the metrics `rewards/<name>/none_count`, `error_count` and `seconds`; TRL logs
mean and deviation. Must not change rewards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from gspo_lite.errors import RunError
from gspo_lite.rewards.contract.guarded import GuardedReward
from gspo_lite.system.processes import gathered

EQUAL = 1e-6  # of the largest, or of 1: sums of rewards that differ less are the same but for rounding
ZERO_STD = "frac_reward_zero_std"


def summed(rewards: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """R (N,) of rewards (N, K): their weighted sum in float64, NaN where none could judge."""
    sums = (rewards.double() * torch.tensor(weights, dtype=torch.float64, device=rewards.device)).nansum(1)
    return sums.masked_fill(rewards.isnan().all(1), torch.nan)


def alike(groups: torch.Tensor) -> torch.Tensor:
    """Whether the sums of each row of `groups` (n, size) are equal but for rounding, (n,); what is NaN is left out."""
    low, high = groups.nan_to_num(nan=torch.inf).amin(1), groups.nan_to_num(nan=-torch.inf).amax(1)
    return high - low <= EQUAL * groups.abs().nan_to_num(nan=0.0, posinf=0.0).amax(1).clamp(min=1.0)


def drop_rounding(trainer: Any, rewards: torch.Tensor, output: dict[str, Any]) -> None:
    """Set advantages to 0 in groups that are paid alike, as (R - mean) / std is but for rounding.

    Eight rewards of 0.2 have a mean that is not 0.2 in float32 and a deviation of 2e-8, which TRL takes for variance:
    their advantages are about 1e-4 instead of 0, and where no other group teaches, Adam makes whole steps of them.

    Args:
        trainer: TRL's, whose logs hold the rollout of all processes.
        rewards: (N, K) of all processes, whole groups one after the other.
        output: the tensors of this process; its advantages (B,) are replaced.
    """
    if trainer.multi_objective_aggregation != "sum_then_normalize":
        return
    sums, group = summed(rewards, trainer.reward_weights.tolist()), trainer.num_generations
    flat = alike(sums.view(-1, group))
    rows, size = flat.repeat_interleave(group), len(output["advantages"])
    start = trainer.accelerator.process_index * size
    output["advantages"] = output["advantages"].masked_fill(rows[start : start + size], 0.0)
    logged = trainer._logs["advantages"]
    for at, is_flat in enumerate(rows.tolist(), start=len(logged) - len(rows)):
        logged[at] = 0.0 if is_flat else logged[at]
    whole = alike(sums.view(1, -1)) if trainer.scale_rewards == "batch" else flat
    trainer._metrics["train"][ZERO_STD][-1] = whole.float().mean().item()


def call_metrics(rewards: Sequence[Any]) -> dict[str, float]:
    """Figures of the last call of each reward, by metric; a reward model has none."""
    metrics = {}
    for one in rewards:
        if isinstance(one, GuardedReward):
            name = f"rewards/{one.__name__}"
            metrics[f"{name}/none_count"] = float(one.figures.none_count)
            metrics[f"{name}/error_count"] = float(one.figures.error_count)
            metrics[f"{name}/seconds"] = one.figures.seconds
    return metrics


def scored_rows(trainer: Any, inputs: list[dict[str, Any]], output: dict[str, Any]) -> list[dict[str, Any]]:
    """The rollout just scored, one row per completion of this process.

    Args:
        trainer: TRL's, whose logs hold the rollout of all processes.
        inputs: the rows of the data that were asked, each once per completion.
        output: the tensors of this process. Their ids are the texts: TRL logs messages from 1.15 on.
    """
    logs, size = trainer._logs, len(inputs)
    start = trainer.accelerator.process_index * size - size * trainer.accelerator.num_processes
    pick = slice(start, start + size or None)
    decode = trainer.processing_class.batch_decode
    texts = [decode(output[ids], skip_special_tokens=True) for ids in ("prompt_ids", "completion_ids")]
    rewards = {name: list(values)[pick] for name, values in logs["rewards"].items()}
    advantages = list(logs["advantages"])[pick]
    finder = next((one for one in trainer.reward_funcs if getattr(one, "marker", None)), None)
    return [
        {
            "prompt": prompt,
            "completion": completion,
            "answer": inputs[row].get("answer"),
            "extracted": finder.extracted(completion) if finder is not None else None,
            "rewards": {name: values[row] for name, values in rewards.items()},
            "advantage": advantages[row],
        }
        for row, (prompt, completion) in enumerate(zip(*texts, strict=True))
    ]


class UnscoredRollouts:
    """Stops a run whose rewards judge nothing any more: every step would be spent on nothing, without a word."""

    def __init__(self, limit: int | None):
        self.limit = limit
        self.in_a_row = 0

    def take(self, rollout: Sequence[dict[str, Any]], weights: Sequence[float]) -> None:
        """Look at a scored rollout.

        Args:
            weights: of the rewards; one that weighs nothing teaches nothing.

        Raises:
            RunError: when `limit` rollouts in a row have no completion that a reward could judge.
        """
        judged = any(
            weight != 0 and value is not None and not math.isnan(value)
            for row in rollout
            for weight, value in zip(weights, row["rewards"].values(), strict=True)
        )
        self.in_a_row = 0 if any(gathered(judged)) else self.in_a_row + 1
        if self.limit is not None and self.in_a_row >= self.limit:
            names = ", ".join(f"`{name}`" for name in rollout[0]["rewards"])
            raise RunError(
                f"in {self.in_a_row} rollouts in a row no reward with a weight could judge any completion ({names})",
                "rewards/<name>/none_count and error_count in metrics.jsonl show where it began; "
                "training.max_unscored_rollouts sets this limit",
            )
