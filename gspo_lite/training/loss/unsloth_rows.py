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
from gspo_lite.system.say import say
from gspo_lite.training.loss.backward import without_idle_backward
from gspo_lite.training.loss.groups import GROUP
from gspo_lite.training.loss.rollout import REMEMBER, LeanRollout
from gspo_lite.training.loss.row_metrics import correct_clips, nothing
from gspo_lite.training.loss.rows import (
    LEFT_OUT,
    LOSS_SCALE,
    OLD,
    REFERENCE,
    ROW_SHARE,
    UNTOUCHED,
    Batch,
    RowRules,
    rows_of,
    sharing,
)
from gspo_lite.training.loss.unsloth import LISTENERS, Heard
from gspo_lite.training.loss.unsloth_kernels import choose_kernels, grouping_of, has_shared, may_pack
from gspo_lite.training.watch.gauges import NOISE_SHARE, RatioGauges, sequence_means


class UnslothRows(LeanRollout):
    """Mixin in front of Unsloth's trainer."""

    gauges: RatioGauges
    _kernels_chosen = False
    # of the trainer
    accelerator: Any
    aux_loss_enabled: bool
    compute_loss_context_manager: Any
    epsilon_low: float
    epsilon_high: float
    processing_class: Any
    _entropy_bonus_enabled: bool

    def _scores_old_itself(self, inputs: Any) -> bool:
        return super()._scores_old_itself(inputs) and not takes_sampled_as_old()

    def _arranged(self, batches: list[Batch], rules: RowRules) -> list[Batch]:
        if self.args.beta:  # the KL penalty has no advantage that could weigh it, and its log-probs are packed already
            rules = replace(rules, pool=False, trim=False)
        if not self._kernels_chosen and may_pack() and not takes_sampled_as_old():
            self._choose_kernels(batches, rules)
        return self._with_groups(batches, rules)

    def _with_groups(self, batches: list[Batch], rules: RowRules) -> list[Batch]:
        """Return the arranged micro-batches, with whole groups where Unsloth shares prompts."""
        grouping = grouping_of(self) if has_shared(self._unwrapped) or not self._kernels_chosen else None
        if grouping is None or any(UNTOUCHED & batch.keys() or GROUP not in batch for batch in batches):
            return super()._arranged(batches, rules)
        return [grouping.arranged(batch, rules) for batch in batches]

    def _choose_kernels(self, batches: list[Batch], rules: RowRules) -> None:
        """Find out what Unsloth does with this model, on the first micro-batch that has rows, and choose from it."""

        def noise() -> float:
            return self._noise(next(filter(rows_of, self._with_groups(batches, rules))))

        if not any(map(rows_of, self._with_groups(batches, rules))):
            return
        told = choose_kernels(self._unwrapped, noise, min(self.epsilon_low, self.epsilon_high) / NOISE_SHARE)
        self._kernels_chosen = True
        for line in filter(None, (told, sharing() if has_shared(self._unwrapped) and grouping_of(self) else "")):
            say(line)

    def _noise(self, batch: Batch) -> float:
        """Return the root mean square of log s between two passes of the same weights over a micro-batch."""
        metrics = self._metrics["train"]
        before = {name: len(values) for name, values in metrics.items()}
        with torch.random.fork_rng(), self.compute_loss_context_manager():
            _, heard = self._hear(self.model, {**batch, OLD: self._old_logps(batch)})
        for name, values in metrics.items():
            del values[before.get(name, 0) :]
        ratio, mask = heard.ratios[-1]
        return float(sequence_means(ratio.log(), mask).square().mean().sqrt())

    @property
    def _unwrapped(self) -> Any:
        """The model on which Unsloth notes what it has verified."""
        return self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)

    def _old_logps(self, batch: Batch) -> torch.Tensor:
        """Return log-probs (B, W) of a micro-batch by the current policy, packed as wide as those of the reference."""
        logps = super()._old_logps(batch)
        width = batch[REFERENCE].shape[1] if REFERENCE in batch else logps.shape[1]
        return torch.nn.functional.pad(logps, (width - logps.shape[1], 0))

    def compute_loss(self, model: Any, inputs: Batch, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.gauges.leave_out(*inputs.get(LEFT_OUT, (0.0, 0.0)))
        if not rows_of(inputs):
            return nothing(model, self._metrics["train"], self.args.loss_type)
        weighed = {**inputs, "advantages": inputs["advantages"] * inputs.get(LOSS_SCALE, 1.0)}
        loss, logps = self._heard_loss(model, weighed, *args, **kwargs)
        if LOSS_SCALE in inputs:
            self._correct_metrics(inputs)
        if inputs.pop(REMEMBER, False):
            inputs[OLD] = logps
        return loss

    def _correct_metrics(self, inputs: Batch) -> None:
        """Extend metrics of the computed rows to all rows."""
        metrics = self._metrics["train"]
        correct_clips(metrics, inputs, self.args.loss_type, self.importance_sampling_level)
        tokens = float(inputs["completion_mask"].sum()) + inputs[LEFT_OUT][1]
        metrics["completion_length"][-1] = tokens * inputs[ROW_SHARE] / rows_of(inputs)

    def _heard_loss(self, model: Any, inputs: Batch, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return Unsloth's loss and the log-probs (B, W) it is of, and record its ratios in the gauges."""
        if inputs["advantages"].dim() == 2:
            pad = tokenizer_of(self.processing_class).pad_token_id
            inputs = {**inputs, "advantages": packed_advantages(inputs, pad)}
        loss, heard = self._hear(model, inputs, *args, **kwargs)
        for ratio, mask in heard.ratios:
            self.gauges.record(ratio.log(), mask, inputs["advantages"], compared=inputs.get(OLD) is not None)
        loss = without_idle_backward(loss, heard.logps, model) if self._by_logps_alone else loss
        return loss, heard.logps[-1].detach()

    def _hear(self, model: Any, inputs: Batch, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, Heard]:
        """Return Unsloth's loss and what it is made of."""
        heard = Heard([], [])
        LISTENERS.append(heard)
        try:
            loss: torch.Tensor = super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]
        finally:
            LISTENERS.remove(heard)
        return loss, heard

    @property
    def _by_logps_alone(self) -> bool:
        """Whether the loss depends on the model through its log-probs only, not through entropies or a router."""
        return not (self._entropy_bonus_enabled or self.aux_loss_enabled)


def takes_sampled_as_old() -> bool:
    """Return whether Unsloth is told to take vLLM's log-probs for the old ones."""
    return os.environ.get("UNSLOTH_GRPO_ROLLOUT_LOGPROBS_AS_OLD", "0") == "1"


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
