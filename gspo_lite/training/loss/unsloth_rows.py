"""What Unsloth's trainer does with a rearranged micro-batch, and advantages aligned with its packing.

Unsloth computes the gradient for the log-probs in the forward pass and would ignore a factor on the loss, so the factor
that restores each row's weight goes into its advantage: positive factors have the same effect there. The backward pass
of a micro-batch whose rows are all clipped is left out.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import torch

from gspo_lite.models.kinds import tokenizer_of
from gspo_lite.training.loss.backward import without_idle_backward
from gspo_lite.training.loss.rollout import REMEMBER, LeanRollout
from gspo_lite.training.loss.row_metrics import correct_clips, nothing
from gspo_lite.training.loss.rows import LEFT_OUT, LOSS_SCALE, OLD, REFERENCE, ROW_SHARE, Batch, RowRules, rows_of
from gspo_lite.training.loss.unsloth import LISTENERS, Heard
from gspo_lite.training.watch.gauges import RatioGauges

SAMPLED_AS_OLD = "UNSLOTH_GRPO_ROLLOUT_LOGPROBS_AS_OLD"  # its switch to take vLLM's log-probs for the old ones


class UnslothRows(LeanRollout):
    """Mixin in front of Unsloth's trainer."""

    gauges: RatioGauges
    # of the trainer
    aux_loss_enabled: bool
    processing_class: Any
    _entropy_bonus_enabled: bool

    def _scores_old_itself(self, inputs: Any) -> bool:
        return super()._scores_old_itself(inputs) and os.environ.get(SAMPLED_AS_OLD, "0") != "1"

    def _arranged(self, batches: list[Batch], rules: RowRules) -> list[Batch]:
        if self.args.beta:  # the KL penalty has no advantage that could weigh it, and its log-probs are packed already
            rules = replace(rules, pool=False, trim=False)
        return super()._arranged(batches, rules)

    def _old_logps(self, batch: Batch) -> torch.Tensor:
        """Return log-probs (B, W) of a micro-batch by the current policy, packed as wide as those of the reference."""
        logps = super()._old_logps(batch)
        width = batch[REFERENCE].shape[1] if REFERENCE in batch else logps.shape[1]
        return torch.nn.functional.pad(logps, (width - logps.shape[1], 0))

    def compute_loss(self, model: Any, inputs: Batch, *args: Any, **kwargs: Any) -> torch.Tensor:
        if LOSS_SCALE not in inputs:
            return self._heard_loss(model, inputs, *args, **kwargs)[0]
        self.gauges.leave_out(*inputs[LEFT_OUT])
        if not rows_of(inputs):
            return nothing(model, self._metrics["train"], self.args.loss_type)
        weighed = {**inputs, "advantages": inputs["advantages"] * inputs[LOSS_SCALE]}
        loss, logps = self._heard_loss(model, weighed, *args, **kwargs)
        metrics = self._metrics["train"]
        correct_clips(metrics, inputs, self.args.loss_type, self.importance_sampling_level)
        tokens = float(inputs["completion_mask"].sum()) + inputs[LEFT_OUT][1]
        metrics["completion_length"][-1] = tokens * inputs[ROW_SHARE] / rows_of(inputs)
        if inputs.pop(REMEMBER, False):
            inputs[OLD] = logps
        return loss

    def _heard_loss(self, model: Any, inputs: Batch, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return Unsloth's loss and the log-probs (B, W) it is of, and record its ratios in the gauges."""
        if inputs["advantages"].dim() == 2:
            pad = tokenizer_of(self.processing_class).pad_token_id
            inputs = {**inputs, "advantages": packed_advantages(inputs, pad)}
        heard = Heard([], [])
        LISTENERS.append(heard)
        try:
            loss: torch.Tensor = super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]
        finally:
            LISTENERS.remove(heard)
        for ratio, mask in heard.ratios:
            self.gauges.record(ratio.log(), mask, inputs["advantages"], compared=inputs.get(OLD) is not None)
        loss = without_idle_backward(loss, heard.logps, model) if self._by_logps_alone else loss
        return loss, heard.logps[-1].detach()

    @property
    def _by_logps_alone(self) -> bool:
        """Whether the loss depends on the model through its log-probs only, not through entropies or a router."""
        return not (self._entropy_bonus_enabled or self.aux_loss_enabled)


def packed_advantages(inputs: dict[str, Any], pad_token_id: int) -> torch.Tensor:
    """Return advantages (B, T) aligned with Unsloth's log-probs (B, W); unchanged with images.

    Unsloth moves each row's padding to the right with a stable sort and keeps the last W columns; the same permutation
    is applied here. W is the width of the old or reference log-probs; without them, T plus a prompt's most padding.
    """
    advantages, completion_ids = inputs["advantages"], inputs["completion_ids"]
    if advantages.shape != completion_ids.shape:
        raise ValueError(f"advantages {tuple(advantages.shape)} must match completions {tuple(completion_ids.shape)}")
    if "max_left_pad" not in inputs or inputs.get("pixel_values") is not None:
        return advantages
    before = [inputs[name] for name in (OLD, REFERENCE) if inputs.get(name) is not None]
    left_pad = int((inputs["prompt_ids"] == pad_token_id).sum(1).max())
    width = before[0].shape[1] if before else completion_ids.shape[1] + left_pad
    ids = torch.cat([inputs["prompt_ids"], completion_ids], dim=1)
    full = torch.cat([advantages.new_zeros(inputs["prompt_ids"].shape), advantages], dim=1)
    order = (ids != pad_token_id).argsort(dim=1, descending=True, stable=True)
    return full.gather(1, order)[:, -width:]
