"""Log-probs on stock TRL with each prompt computed once for its completions (`shared_prompt.py`), where that is exact.

    once per trainer     rules on model and settings; then, on rows of the first micro-batch, a comparison with TRL
    every micro-batch    old and new log-probs by one path: this one, or TRL's for images and rows of another form

Must not define a loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from accelerate.utils import is_peft_model

from gspo_lite.system.say import say
from gspo_lite.training.loss.head import Head
from gspo_lite.training.loss.rows import RowRules, sharing
from gspo_lite.training.loss.shared_prompt import ATTENTION, blocks_of, hidden_states

Rows = tuple[torch.Tensor, torch.Tensor, int]  # ids and mask (B, W), and the columns T of the completions
Scores = tuple[torch.Tensor, torch.Tensor, None]  # log-probs and entropies (B, T), 0 at padding; no auxiliary loss
LAYERS = {"full_attention", "sliding_attention"}  # kinds of layers in which only attention sees other tokens
TRIED = 4  # rows that are compared with TRL's log-probs
CLOSE, CLOSE_IN_16_BITS = 1e-4, 0.1  # largest mean gap, in nats


class SharedPrompts:
    """Mixin in front of TRL's `GRPOTrainer` that computes each prompt of a micro-batch once."""

    shares_prompts: bool | None = None  # None until the first micro-batch
    row_rules: RowRules | None
    # of the trainer
    accelerator: Any
    model: Any
    temperature: float
    _entropy_bonus_enabled: bool

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, batch_size: int | None = None,
        **options: Any,
    ) -> Any:  # fmt: skip
        rows = (input_ids, attention_mask, logits_to_keep)
        as_trl = partial(
            super()._get_per_token_logps_and_entropies,  # type: ignore[misc]
            model,
            batch_size=batch_size,
            **options,
        )
        beyond = [
            name
            for name, value in options.items()
            if name != "compute_entropy" and value is not None and value is not False
        ]
        if model is not self.model or beyond or not self._may_share(rows, as_trl):
            return as_trl(*rows)
        return self._shared(rows, batch_size) or as_trl(*rows)

    def _may_share(self, rows: Rows, as_trl: Callable[..., Any]) -> bool:
        """Return whether prompts are shared; decide it at the first rows that can be compared."""
        if self.shares_prompts is None:
            tried = (rows[0][:TRIED], rows[1][:TRIED], rows[2])
            reason = hindrance(self) or self._difference(tried, as_trl)
            if reason is None:
                return False
            self.shares_prompts = not reason
            say(sharing(reason))
            if reason and self.row_rules is not None:
                self.row_rules = replace(self.row_rules, shared=False)
        return self.shares_prompts

    def _difference(self, rows: Rows, as_trl: Callable[..., Any]) -> str | None:
        """Return why these rows are not what TRL computes, nothing if they are; None if they cannot tell."""
        with torch.no_grad():
            theirs = as_trl(*rows)[0]
            try:
                ours = self._shared(rows, None)
            except Exception as error:  # whatever a model says to tokens in one row, TRL's way remains
                return f"{type(self.model).__name__} does not take it: {error}"
        if ours is None:
            return None
        gap = float((ours[0] - theirs).abs()[rows[1][:, -rows[2] :].bool()].mean())
        exact = self.accelerator.mixed_precision == "no" and self.model.dtype in (torch.float32, torch.float64)
        close = gap <= (CLOSE if exact else CLOSE_IN_16_BITS)  # NaN is not
        return "" if close else f"log-probs of {type(self.model).__name__} would differ by {gap:.1e}"

    def _shared(self, rows: Rows, batch_size: int | None) -> Scores | None:
        """Return the scores of rows, at most `batch_size` at a time; None if they have another form."""
        ids, mask, width = rows
        size = batch_size or len(ids)
        parts = [self._of_blocks(*part, width) for part in zip(ids.split(size), mask.split(size), strict=True)]
        whole = [part for part in parts if part is not None]
        if len(whole) < len(parts):
            return None
        return torch.cat([one for one, _ in whole]), torch.cat([other for _, other in whole]), None

    def _of_blocks(self, ids: torch.Tensor, mask: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        blocks = blocks_of(ids, mask, width)
        if blocks is None:
            return None
        model = self.model.get_base_model() if is_peft_model(self.model) else self.model
        head = Head(model, self.temperature, entropy_learns=self._entropy_bonus_enabled)
        with self.accelerator.autocast():
            found = head.scores(hidden_states(model.base_model, blocks)[blocks.before], blocks.targets)
        used = mask[:, -width:].bool()
        logps, entropies = (one.new_zeros(used.shape).masked_scatter(used, one) for one in found)
        return logps, entropies


def hindrance(trainer: Any) -> str:
    """Return why a trainer's prompts cannot be shared; nothing if they may be."""
    model, config = trainer.model, trainer.model.config.get_text_config()
    adapters = model.peft_config.values() if is_peft_model(model) else ()
    reasons = {
        f"attention is `{config._attn_implementation}`": config._attn_implementation != ATTENTION,
        "not only attention looks at other tokens": not LAYERS.issuperset(getattr(config, "layer_types", None) or ()),
        "dropout differs from row to row": drops(model),
        "the adapter is a prompt of its own": any(one.is_prompt_learning for one in adapters),
        "several processes compute in step": trainer.accelerator.distributed_type != "NO",
        "the model is compiled": trainer.args.torch_compile,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def drops(model: Any) -> bool:
    """Return whether a model leaves out parts at random while it is trained."""
    layers = any(module.p for module in model.modules() if isinstance(module, torch.nn.Dropout))
    return layers or getattr(model.config.get_text_config(), "attention_dropout", 0) > 0
