"""GSPO-token on stock TRL: the level `sequence_token`, which TRL does not have, on TRL's own loss.

At level `token` TRL computes exp(new - old) per token. With old := sg(new) - mean(new - old), the mean over the
sequence's tokens, its value is s_i while each token keeps its own gradient: s_it of GSPO-token (arXiv 2507.18071,
section 4.3). Must not define a loss.
"""

from __future__ import annotations

from typing import Any

import torch

from gspo_lite.training.loss.backward import without_idle_backward
from gspo_lite.training.loss.rows import OLD
from gspo_lite.training.watch.gauges import RatioGauges

LEVEL = "sequence_token"


class SequenceTokenLoss:
    """Mixin in front of TRL's `GRPOTrainer`: the level `sequence_token`, the gauges, no backward pass in vain."""

    importance_sampling_level: str
    gauges: RatioGauges
    _loss_inputs: dict[str, Any] | None = None
    _loss_outputs: tuple[Any, ...] = ()

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        # A copy, because TRL uses the batch again at the next iteration over the rollout.
        self._loss_inputs = dict(inputs)
        level = self.importance_sampling_level
        self.importance_sampling_level = "token" if level == LEVEL else level
        try:
            loss = super()._compute_loss(model, self._loss_inputs)  # type: ignore[misc]
            return without_idle_backward(loss, self._loss_outputs, model)
        finally:
            self._loss_inputs, self._loss_outputs = None, ()
            self.importance_sampling_level = level

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)  # type: ignore[misc]
        if self._loss_inputs is not None:  # the forward pass of the loss, which then reads the old log-probs
            self._loss_outputs = result
            self._use_ratio(result[0].detach(), self._loss_inputs)
        return result

    def _use_ratio(self, new: torch.Tensor, inputs: dict[str, Any]) -> None:
        """Record log new - log old (B, T), and at `sequence_token` shift the old log-probs before TRL reads them."""
        old = inputs.get(OLD)
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        log_ratio = torch.zeros_like(new) if old is None else torch.where(mask.bool(), new - old, 0.0)
        self.gauges.record(log_ratio, mask, inputs["advantages"], compared=old is not None)
        if self.gauges.level == LEVEL:
            inputs[OLD] = new - log_ratio.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)
