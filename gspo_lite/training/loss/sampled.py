"""Rollouts on the transformers engine by our own sampler, whose log-probs serve as old ones.

    sampling         every prompt is computed once for its group, and ended rows leave the batch (models/sampler.py)
    old log-probs    those of the sampler, in float32: the same weights, another order of the same sums
    the gap          measured on a run's first rollout and on a part of every tenth: log s between the sampler's
                     log-probs and those of the training pass. Beyond a small share of the clip, the run computes old
                     log-probs by the training pass again.

Must not define a loss.
"""

from __future__ import annotations

from typing import Any

import torch

from gspo_lite.models.sampler import sampling_by_rows
from gspo_lite.system.say import say
from gspo_lite.training.loss.logps import drops
from gspo_lite.training.loss.rows import OLD, SAMPLED, Batch, RowRules

MEASURED_EVERY = 10  # rollouts
LARGEST_SHARE = 0.05  # of epsilon, of the gap up to which the sampler is trusted
EXACT = (torch.float32, torch.float64)


class OwnSampler:
    """Mixin in front of stock TRL's `GRPOTrainer` that samples by rows and keeps the sampler's log-probs."""

    sampler_trusted: bool
    row_rules: RowRules | None
    _measured_at = -1  # optimizer step
    # of the trainer
    args: Any
    epsilon_high: float
    gauges: Any
    model: Any
    state: Any
    updates_per_rollout: int
    use_vllm: bool

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        with sampling_by_rows(self.model) as calls:
            ids, logps = super()._generate_single_turn(*args, **kwargs)  # type: ignore[misc]
        if calls and calls[0].logps is not None and self._hears_sampler:
            logps = [row[: len(one)].tolist() for row, one in zip(calls[0].logps.cpu(), ids, strict=True)]
        return ids, logps

    @property
    def _hears_sampler(self) -> bool:
        """Whether the sampler's log-probs may be those of training: in float32 throughout, and nothing is dropped."""
        exact = not (self.args.bf16 or self.args.fp16) and self.model.dtype in EXACT and not drops(self.model)
        return exact and self.sampler_trusted and bool(self.model.training) and self.row_rules is not None

    def _old_logps(self, batch: Batch) -> torch.Tensor:
        """Return the sampler's log-probs of a micro-batch (B, T) while it is trusted, else those of a pass."""
        sampled = None if self.use_vllm else batch.get(SAMPLED)
        if sampled is not None and self.sampler_trusted and not self._gap_is_due():
            return sampled
        old: torch.Tensor = super()._old_logps(batch)  # type: ignore[misc]
        if sampled is not None:
            self._measured_at = self.state.global_step
            self.gauges.record_sampler({**batch, OLD: old})
            self._judge(self.gauges.sampler_gaps[-1])
        return old

    def _gap_is_due(self) -> bool:
        """Return whether to measure the gap: on all of a run's first rollout, then on one batch of every tenth."""
        step = self.state.global_step
        return step == 0 or (step // self.updates_per_rollout % MEASURED_EVERY == 0 and step != self._measured_at)

    def _judge(self, gap: float) -> None:
        """Trust the sampler no longer, and say so, if it differs from the training pass by too large a log s."""
        epsilon = min(self.args.epsilon, self.epsilon_high)
        if self.sampler_trusted and not gap <= LARGEST_SHARE * epsilon:
            self.sampler_trusted = False
            say(
                f"note     old log-probs are computed by a pass of their own: the sampler's differ by up to {gap:.1e} "
                f"in log s, more than {LARGEST_SHARE:.0%} of epsilon {epsilon:.1e}"
            )

    def _with_old_logps(self, batches: list[Batch]) -> list[Batch]:
        found: list[Batch] = super()._with_old_logps(batches)  # type: ignore[misc]
        if self.use_vllm:
            return found
        return [{name: value for name, value in batch.items() if name != SAMPLED} for batch in found]
