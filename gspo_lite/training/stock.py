"""GSPO-token on stock TRL: the level `sequence_token`, which TRL has no name for, on TRL's own loss.

TRL computes, at level `token`, exp(new - old) per token. Put old := sg(new) - mean(new - old) there, with the mean
over the sequence's tokens, and that becomes s_i in value while each token keeps its own gradient: s_it of GSPO-token
(arXiv 2507.18071, section 4.3). Everything TRL does after the ratio stays TRL's.

Owns the change of `old_per_token_logps`; must not hold a loss of its own.
"""

from __future__ import annotations

from typing import Any

import torch

LEVEL = "sequence_token"


class SequenceTokenLoss:
    """Mixin in front of TRL's `GRPOTrainer` that adds the level `sequence_token`."""

    importance_sampling_level: str
    _loss_inputs: dict[str, Any] | None = None

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        if self.importance_sampling_level != LEVEL:
            return super()._compute_loss(model, inputs)  # type: ignore[misc]
        # A copy: TRL keeps the batch and uses it again at the next iteration over the rollout.
        self._loss_inputs = dict(inputs)
        self.importance_sampling_level = "token"
        try:
            return super()._compute_loss(model, self._loss_inputs)  # type: ignore[misc]
        finally:
            self._loss_inputs = None
            self.importance_sampling_level = LEVEL

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)  # type: ignore[misc]
        if self._loss_inputs is not None:  # only between the loss's own forward pass and its use of the old log-probs
            self._loss_inputs["old_per_token_logps"] = shifted_old_logps(result[0].detach(), self._loss_inputs)
        return result


def shifted_old_logps(new: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
    """Old log-probs (B, T) that make TRL's token ratio equal the sequence ratio: new - mean(new - old)."""
    old = inputs.get("old_per_token_logps")
    if old is None:  # on-policy: the ratio is 1
        return new
    mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
    log_ratio = torch.where(mask.bool(), new - old, 0.0)
    return new - log_ratio.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)
