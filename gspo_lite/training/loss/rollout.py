"""Rollouts without the rows and padding that change nothing (see `rows.py`), on either trainer.

    once per rollout     the trainer samples, scores, shuffles and splits; then its micro-batches are rearranged
    old log-probs        computed on the rearranged micro-batches, the same rows in the same order as in training, so
                         that both passes round alike; none if the policy has not moved yet

Changes the trainer's buffer; must not define a loss. What a backend does with a rearranged micro-batch is in
`stock_rows.py` and `unsloth_rows.py`.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import torch

from gspo_lite.system.processes import gathered
from gspo_lite.training.loss import rows
from gspo_lite.training.loss.logps import SharedPrompts, hindrance
from gspo_lite.training.loss.rows import OLD, PICTURES, Batch, RowRules, rows_of

REMEMBER = "remember_logps"  # a micro-batch whose first pass gives the old log-probs of later ones


class LeanRollout:
    """Mixin in front of a `GRPOTrainer`, TRL's or Unsloth's, that computes only the rows and columns that matter."""

    row_rules: RowRules | None = None
    _first_step_needs_old = False  # where the policy has not moved
    _placeholder_due = _has_placeholders = False
    # of the trainer
    accelerator: Any
    args: Any
    gauges: Any
    model: Any
    importance_sampling_level: str
    num_iterations: int
    state: Any
    use_vllm: bool
    vllm_importance_sampling_correction: bool
    _buffered_inputs: Any
    _metrics: Any
    _step: int

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)  # type: ignore[misc]
        if not self.model.training or self._buffered_inputs is before:
            return inputs
        if self.row_rules is not None:
            self._buffered_inputs = self._with_old_logps(self._arranged(self._buffered_inputs, self.row_rules))
        for batch in self._buffered_inputs:
            self.gauges.record_sampler(batch)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _arranged(self, batches: list[Batch], rules: RowRules) -> list[Batch]:
        """Return the micro-batches of a rollout without what need not be computed."""
        least = [] if self.accelerator.num_processes == 1 else most_rows(batches, rules)
        return rows.arranged(batches, self.args.gradient_accumulation_steps, rules, least)

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        self._placeholder_due = self._scores_old_itself(inputs)
        try:
            return super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        finally:
            self._placeholder_due = False

    def _scores_old_itself(self, inputs: Any) -> bool:
        """Return whether old log-probs are computed on the arranged batches instead of by the trainer."""
        reused = self.args.gradient_accumulation_steps % (self.args.steps_per_generation * self.num_iterations) != 0
        return self.row_rules is not None and bool(self.model.training) and (reused or self._corrects_sampler)

    @property
    def _corrects_sampler(self) -> bool:
        """Whether the loss weighs tokens by the ratio of the trainer to vLLM, which takes old log-probs."""
        return bool(self.use_vllm and self.vllm_importance_sampling_correction)

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        if self._placeholder_due:  # the first call while a rollout is scored is the one for old log-probs
            self._placeholder_due, self._has_placeholders = False, True
            input_ids, _, width = args[:3]
            return torch.full((len(input_ids), width), torch.nan, device=input_ids.device), None, None
        return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)  # type: ignore[misc]

    def _with_old_logps(self, batches: list[Batch]) -> list[Batch]:
        """Return the micro-batches with old log-probs in place of the placeholders."""
        if not self._has_placeholders:
            return batches
        self._has_placeholders = False
        # The first optimizer step on a rollout compares the policy with itself, so it needs no old log-probs. That of a
        # run computes them anyway, which shows the noise between the two passes.
        free = self.args.gradient_accumulation_steps
        if self.state.global_step == 0 or self._first_step_needs_old:
            free = 0
        for index, batch in enumerate(batches):
            if index < free:
                del batch[OLD]
                batch[REMEMBER] = self.num_iterations > 1
            elif rows_of(batch):
                batch[OLD] = self._old_logps(batch)
        return batches

    def _old_logps(self, batch: Batch) -> torch.Tensor:
        """Return log-probs of a micro-batch by the current policy, as the trainer's loss takes them."""
        with torch.no_grad():
            ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
            attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
            pictures = {name: batch[name] for name in PICTURES if name in batch}
            width = batch["completion_ids"].shape[1]
            found = self._get_per_token_logps_and_entropies(self.model, ids, attention, width, **pictures)
        logps: torch.Tensor = found[0]
        return logps


def most_rows(batches: list[Batch], rules: RowRules) -> list[int]:
    """Return the rows that the process with most of them computes in each micro-batch, at least 1.

    TRL gathers a figure per row for its metrics, and a backward pass takes all processes.
    """
    counts = gathered([len(rows.kept_rows(batch, rules)) for batch in batches])
    return [max(1, *found) for found in zip(*counts, strict=True)]


def rules_of(trainer: Any) -> RowRules | None:
    """Return the row rules of a trainer's configuration; None for an unknown loss, one that a subclass defines, and for
    optimizer steps that span two rollouts.
    """
    subclasses = takewhile(lambda base: not base.__module__.startswith("gspo_lite."), type(trainer).__mro__)
    own_loss = any({"compute_loss", "_compute_loss"} & vars(base).keys() for base in subclasses)
    if own_loss or trainer.args.loss_type not in rows.SUMS:
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
