"""Unsloth's two fast ways to compute log-probs: which rows they want, how they round, and the switches that end them.

    grouping    a prompt once for its group (PrefixGrouper). Every `num_generations` rows of a micro-batch must be one
                whole group, so a group that varies keeps its rows without an advantage where sharing pays more than
                leaving them out. Unsloth itself leaves it off under vLLM and for some models.
    packing     several rows in one stream

Unsloth trusts either once its log-probs are within 0.7 nats of those of single rows, which is 2,000 times GSPO's clip.
What counts for the ratio is that old and new log-probs round alike, so that is measured here, before the first step.
Owns all that is known of the two. Must not define a loss.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from gspo_lite.training.loss.groups import GROUP
from gspo_lite.training.loss.rows import Batch, RowRules, kept_rows, lean

Switch = Callable[[bool], Any]
PACKING_ON = "UNSLOTH_GRPO_SEQ_PACKING"  # its switch, without which there is neither
GROUPER = "unsloth.utils.prefix_grouper"  # the module whose `_ENABLED` both passes ask
SHARED = "_unsloth_prefix_grouper_grad_verified"  # on a model: the forms of groups that Unsloth trusts
PACKED = ("_unsloth_seq_packing_nograd_ok", "_unsloth_seq_packing_grad_ok")  # on a model: False ends packing


@dataclass(frozen=True)
class Grouping:
    """How prompts are shared: rows of a group, and the least saving in tokens at which Unsloth does it."""

    size: int
    least_saving: float

    def arranged(self, batch: Batch, rules: RowRules) -> Batch:
        """Return a micro-batch without idle groups: the others whole if sharing their prompts pays, else row by row."""
        kept = kept_rows(batch, rules)
        whole = self.whole_groups(batch, kept)
        return lean(batch, whole if len(whole) and self.pays(batch, kept, whole) else kept, rules)

    def whole_groups(self, batch: Batch, kept: torch.Tensor) -> torch.Tensor:
        """Return all rows of the groups that these rows are of, side by side; none if a group is not whole."""
        members: dict[int, list[int]] = {}
        for row, group in enumerate(batch[GROUP].tolist()):
            members.setdefault(group, []).append(row)
        groups = [members[group] for group in dict.fromkeys(batch[GROUP][kept].tolist())]
        rows = [row for group in groups for row in group] if all(len(group) == self.size for group in groups) else []
        return torch.tensor(rows, dtype=torch.long, device=kept.device)

    def pays(self, batch: Batch, kept: torch.Tensor, whole: torch.Tensor) -> bool:
        """Return whether whole groups that share prompts have fewer tokens than single rows, and save enough."""
        prompts, completions = batch["prompt_mask"].sum(1), batch["completion_mask"].sum(1)
        shared = int(prompts[whole[:: self.size]].sum() + completions[whole].sum())
        apart, unshared = (int((prompts + completions)[rows].sum()) for rows in (kept, whole))
        return shared < apart and unshared >= self.least_saving * shared


def grouping_of(trainer: Any) -> Grouping | None:
    """Return how Unsloth would share prompts for this trainer; None if it would not."""
    module = sys.modules.get(GROUPER)
    if module is None or trainer.use_vllm or not module.prefix_grouper_enabled():
        return None
    return Grouping(trainer.num_generations, module.tokr_threshold())


def may_pack() -> bool:
    """Return whether a fast way is allowed at all."""
    return os.environ.get(PACKING_ON, "1").lower() not in ("0", "false", "no", "off")


def has_shared(model: Any) -> bool:
    """Return whether Unsloth has shared prompts in a pass with a gradient over this model."""
    return bool(getattr(model, SHARED, None))


def switches(model: Any) -> list[tuple[str, Switch]]:
    """Return what is at work in passes over this model, the fastest first, each with the setter of its switch."""
    module, found = sys.modules.get(GROUPER), list[tuple[str, Switch]]()
    if module is not None and module.prefix_grouper_enabled() and has_shared(model):
        found.append(("sharing of prompts", lambda on: vars(module).update(_ENABLED=on)))
    if getattr(model, PACKED[1], None):
        found.append(("packing of rows", lambda on: vars(model).update(dict.fromkeys(PACKED, on))))
    return found


def choose_kernels(model: Any, noise: Callable[[], float], limit: float) -> str:
    """End what lets old and new log-probs round apart, if that helps, and return what is to be said about it.

    Args:
        noise: returns the root mean square of log s between two passes of the same weights, as they are done now.
        limit: noise that is no harm.
    """
    first = left = noise()
    rest, ended = switches(model), list[tuple[str, Switch]]()
    while rest and not left <= limit:
        ended.append(rest.pop(0))
        ended[-1][1](False)
        left = noise()
    if not left <= limit:  # it is none of them
        for _, switch in ended:
            switch(True)
    if not (ended and left <= limit):
        return ""
    names = " and ".join(name for name, _ in ended)
    return f"note     Unsloth's {names} off: log s of an unmoved policy had a noise of {first:.1e}, now {left:.1e}"
