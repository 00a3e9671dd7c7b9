"""What stock TRL does with a rearranged micro-batch: its loss times the factor that restores each row's weight.

Under vLLM, TRL weighs each token by the ratio of the trainer's old log-probs to vLLM's. It computes them for every row
at full width; here the ratio is computed for the rows that are trained on, from old log-probs of the same pass.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from trl.trainer.utils import split_pixel_values_by_grid, unsplit_pixel_values_by_grid

from gspo_lite.training.loss.rollout import REMEMBER, LeanRollout
from gspo_lite.training.loss.row_metrics import correct_clips, nothing
from gspo_lite.training.loss.rows import (
    LEFT_OUT,
    LOSS_SCALE,
    OLD,
    ROW_SHARE,
    SAMPLED,
    SAMPLER_RATIO,
    TOKEN_SHARE,
    Batch,
    RowRules,
    kept_rows,
    lean,
    rows_of,
)

OF_ACTIVE_ROWS = {"entropy": "entropy_active_rows", "vespo/phi_seq_mean": "vespo/phi_active_rows"}
GAP, RATIO = "sampling/sampling_logp_difference", "sampling/importance_sampling_ratio"


def with_images(batch: Batch, rules: RowRules) -> Batch:
    """Return the rows of a micro-batch that must be computed, with their images, of which a row may have several."""
    kept = kept_rows(batch, rules)
    found = lean(split_pixel_values_by_grid(batch), kept, rules)
    return unsplit_pixel_values_by_grid(found) if len(kept) else found


class StockRows(LeanRollout):
    """Mixin in front of TRL's `GRPOTrainer`."""

    _loss_logps: torch.Tensor | None = None
    # of the trainer
    accelerator: Any
    vllm_importance_sampling_mode: str
    vllm_importance_sampling_clip_min: float | None
    vllm_importance_sampling_clip_max: float | None

    @property
    def _first_step_needs_old(self) -> bool:  # type: ignore[override]
        return self._corrects_sampler

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        self._loss_logps = result[0].detach()
        return result

    def _arranged(self, batches: list[Batch], rules: RowRules) -> list[Batch]:
        if not any("num_images" in batch for batch in batches):
            return super()._arranged(batches, rules)
        return [with_images(batch, replace(rules, trim=False)) for batch in batches]

    def _with_old_logps(self, batches: list[Batch]) -> list[Batch]:
        scored = self._has_placeholders
        batches = super()._with_old_logps(batches)
        if scored and self._corrects_sampler:
            self._correct_for_sampler([batch for batch in batches if rows_of(batch)])
        return batches

    def _correct_for_sampler(self, batches: list[Batch]) -> None:
        """Set the ratios to vLLM's log-probs, and TRL's metrics of them over the rows that are trained on."""
        gaps, ratios = [torch.zeros(0, device=self.model.device)], [torch.zeros(0, device=self.model.device)]
        for batch in batches:
            mask = (batch["completion_mask"] * batch.get("tool_mask", 1)).bool()
            gap = batch[OLD] - batch[SAMPLED]
            ratio = batch[SAMPLER_RATIO] = self._sampler_ratio(gap, mask)
            gaps.append(gap[mask & ~gap.isnan()].abs())
            ratios.append(ratio[mask] if ratio.shape == mask.shape else ratio.flatten())
        for name, values, kinds in ((GAP, gaps, ("mean", "max")), (RATIO, ratios, ("min", "mean", "max"))):
            found = torch.cat(values)
            for kind in kinds:
                value = getattr(found, kind)() if len(found) else found.new_zeros(())
                # In place of TRL's own, which saw a placeholder.
                self._metrics["train"][f"{name}/{kind}"][-1] = float(getattr(self.accelerator.gather(value), kind)())

    def _sampler_ratio(self, gap: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the ratio of trainer to sampler as the loss takes it, (B, T) or (B, 1).

        Args:
            gap: the trainer's log-probs minus vLLM's (B, T); NaN where vLLM has none, which counts as no gap.
        """
        unit, _, beyond = self.vllm_importance_sampling_mode.partition("_")
        low, high = self.vllm_importance_sampling_clip_min, self.vllm_importance_sampling_clip_max
        low, high = -torch.inf if low is None else low, torch.inf if high is None else high
        gap = torch.where(mask, gap, 0.0).nan_to_num(nan=0.0)
        ratio = (gap.sum(1, keepdim=True) if unit == "sequence" else gap).exp()
        if beyond == "truncate":
            return ratio.clamp(low, high)
        return torch.where((ratio >= low) & (ratio <= high), ratio, 0.0)

    def _compute_loss(self, model: Any, inputs: Batch) -> torch.Tensor:
        if LOSS_SCALE not in inputs:
            return self._remembering(inputs, super()._compute_loss(model, inputs))  # type: ignore[misc]
        self.gauges.leave_out(*inputs[LEFT_OUT])
        if not rows_of(inputs):
            return nothing(model, self._metrics["train"], self.args.loss_type)
        loss = super()._compute_loss(model, inputs) * inputs[LOSS_SCALE]  # type: ignore[misc]
        self._correct_metrics(inputs)
        return self._remembering(inputs, loss)

    def _remembering(self, inputs: Batch, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss; its log-probs are the old ones of later passes over a micro-batch that has none."""
        if inputs.pop(REMEMBER, False):
            inputs[OLD] = self._loss_logps
        return loss

    def _correct_metrics(self, inputs: Batch) -> None:
        """Extend metrics of the computed rows to all rows; rename those that cannot be extended."""
        metrics = self._metrics["train"]
        correct_clips(metrics, inputs, self.args.loss_type, self.importance_sampling_level)
        if "kl" in metrics:
            metrics["kl"][-1] *= inputs[TOKEN_SHARE]
        for name in filter(metrics.get, OF_ACTIVE_ROWS):
            if self.row_rules is not None and self.row_rules.drop:
                metrics[OF_ACTIVE_ROWS[name]].append(metrics[name].pop())
                if not metrics[name]:
                    del metrics[name]
            else:
                metrics[name][-1] *= inputs[TOKEN_SHARE if name == "entropy" else ROW_SHARE]
