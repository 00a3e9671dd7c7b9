"""Rollouts on stock TRL without the rows and padding that change nothing (see `rows.py`).

    once per rollout     TRL samples, scores, shuffles and splits; then its micro-batches are rearranged
    old log-probs        computed on the rearranged micro-batches, so that training rounds alike; none if the policy
                         has not moved yet
    every micro-batch    TRL's loss times the factor that restores each row's weight; metrics of all rows

Changes TRL's buffer and metrics; must not define a loss.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import torch

from gspo_lite.training.loss import rows
from gspo_lite.training.loss.backward import zero_of
from gspo_lite.training.loss.logps import SharedPrompts, hindrance
from gspo_lite.training.loss.rows import LEFT_OUT, LOSS_SCALE, OLD, ROW_SHARE, TOKEN_SHARE, Batch, RowRules

REMEMBER = "remember_logps"  # a micro-batch whose first pass gives the old log-probs of later ones
CLIPS = ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean")
OTHER_CLIPS = {"cispo": ("cispo_clip_ratio",), "sapo": (), "vespo": ()}  # of losses that do not clip on two sides
LOWEST_CLIP = "clip_ratio/low_min"
OF_ACTIVE_ROWS = {"entropy": "entropy_active_rows", "vespo/phi_seq_mean": "vespo/phi_active_rows"}


class LeanRollout:
    """Mixin in front of TRL's `GRPOTrainer` that computes only the rows and columns that matter."""

    row_rules: RowRules | None = None
    _placeholder_due = False
    _loss_logps: torch.Tensor | None = None
    # of the trainer
    args: Any
    gauges: Any
    model: Any
    importance_sampling_level: str
    num_iterations: int
    state: Any
    _buffered_inputs: Any
    _metrics: Any
    _step: int

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)  # type: ignore[misc]
        rules = self.row_rules
        if rules is None or not self.model.training or self._buffered_inputs is before:
            return inputs
        batches = rows.arranged(self._buffered_inputs, self.args.gradient_accumulation_steps, rules)
        self._buffered_inputs = self._with_old_logps(batches)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        self._placeholder_due = self._scores_old_itself(inputs)
        try:
            return super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        finally:
            self._placeholder_due = False

    def _scores_old_itself(self, inputs: Any) -> bool:
        """Return whether old log-probs are computed on the arranged batches instead of by TRL."""
        needed = self.args.gradient_accumulation_steps % (self.args.steps_per_generation * self.num_iterations) != 0
        images = any(name in inputs[0] for name in ("image", "images"))
        return self.row_rules is not None and bool(self.model.training) and needed and not images

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        if self._placeholder_due:  # TRL's first call while it scores a rollout is the one for old log-probs
            self._placeholder_due = False
            input_ids, _, width = args[:3]
            return torch.full((len(input_ids), width), torch.nan, device=input_ids.device), None, None
        result = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)  # type: ignore[misc]
        self._loss_logps = result[0].detach()
        return result

    def _with_old_logps(self, batches: list[Batch]) -> list[Batch]:
        """Return the micro-batches with old log-probs in place of the placeholders."""
        if any(OLD not in batch or LOSS_SCALE not in batch for batch in batches):
            return batches
        window = self.args.gradient_accumulation_steps
        # The first optimizer step on a rollout compares the policy with itself, so it needs no old log-probs. That of a
        # run computes them anyway, which shows the noise between the two passes.
        free = window if self.state.global_step > 0 else 0
        for index, batch in enumerate(batches):
            if index < free:
                del batch[OLD]
                batch[REMEMBER] = self.num_iterations > 1
            elif len(batch["completion_ids"]):
                batch[OLD] = self._old_logps(batch)
        return batches

    def _old_logps(self, batch: Batch) -> torch.Tensor:
        """Return log-probs (B, T) of a micro-batch by the current policy."""
        with torch.no_grad():
            ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
            attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
            width = batch["completion_ids"].shape[1]
            logps: torch.Tensor = self._get_per_token_logps_and_entropies(self.model, ids, attention, width)[0]
        return logps

    def _compute_loss(self, model: Any, inputs: Batch) -> torch.Tensor:
        if LOSS_SCALE not in inputs:
            return super()._compute_loss(model, inputs)  # type: ignore[misc]
        self.gauges.leave_out(*inputs[LEFT_OUT])
        if not len(inputs["completion_ids"]):
            return nothing(model, self._metrics["train"], self.args.loss_type)
        before = {name: len(values) for name, values in self._metrics["train"].items()}
        loss = super()._compute_loss(model, inputs) * inputs[LOSS_SCALE]  # type: ignore[misc]
        self._correct_metrics(before, inputs)
        if inputs.pop(REMEMBER, False):
            inputs[OLD] = self._loss_logps
        return loss

    def _correct_metrics(self, before: dict[str, int], inputs: Batch) -> None:
        """Extend metrics of the computed rows to all rows; rename those that cannot be extended."""
        metrics = self._metrics["train"]
        clip_share = inputs[ROW_SHARE if self.importance_sampling_level == "sequence" else TOKEN_SHARE]
        for name in OTHER_CLIPS.get(self.args.loss_type, CLIPS):
            if len(metrics[name]) > before.get(name, 0):
                metrics[name][-1] *= clip_share  # a row without advantage is never clipped
        if inputs[ROW_SHARE] < 1 and metrics.get(LOWEST_CLIP):
            metrics[LOWEST_CLIP][-1] = 0.0
        if "kl" in metrics:
            metrics["kl"][-1] *= inputs[TOKEN_SHARE]
        for name in filter(metrics.get, OF_ACTIVE_ROWS):
            if self.row_rules is not None and self.row_rules.drop:
                metrics[OF_ACTIVE_ROWS[name]].append(metrics[name].pop())
                if not metrics[name]:
                    del metrics[name]
            else:
                metrics[name][-1] *= inputs[TOKEN_SHARE if name == "entropy" else ROW_SHARE]


def nothing(model: Any, metrics: dict[str, list[float]], loss_type: str) -> torch.Tensor:
    """Return the loss of an empty micro-batch: 0 with a gradient of 0, and metrics of 0."""
    for name in OTHER_CLIPS.get(loss_type, (*CLIPS, LOWEST_CLIP, "clip_ratio/high_max")):
        metrics[name].append(0.0)
    return zero_of(model)


def rules_of(trainer: Any) -> RowRules | None:
    """Return the row rules of a trainer's configuration; None for an unknown loss, for optimizer steps that span two
    rollouts, and on stock TRL under vLLM.

    Under vLLM, TRL computes old log-probs of whole rows at once; rows cut for training would be rounded differently, in
    bfloat16 by more than GSPO's clip. Unsloth's two passes pack rows differently in any case.
    """
    subclasses = takewhile(lambda base: base is not LeanRollout, type(trainer).__mro__)
    own_loss = any({"compute_loss", "_compute_loss"} & vars(base).keys() for base in subclasses)
    whole = (trainer.use_vllm or own_loss) and isinstance(trainer, LeanRollout)
    if whole or trainer.args.loss_type not in rows.SUMS:
        return None
    args, config = trainer.args, trainer.model.config.get_text_config()
    if args.steps_per_generation % args.gradient_accumulation_steps:  # a step spans two rollouts
        return None
    return rows.row_rules(
        args.loss_type,
        beta=args.beta,
        entropy=args.top_entropy_quantile < 1 or trainer._entropy_bonus_enabled,
        aux_loss=trainer.aux_loss_enabled,
        rotary=bool(getattr(config, "rope_parameters", None)),
        processes=trainer.accelerator.num_processes,
        shared=isinstance(trainer, SharedPrompts) and not hindrance(trainer),
    )
