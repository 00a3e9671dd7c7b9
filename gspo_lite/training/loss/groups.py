"""Deals the rows of a rollout to its optimizer steps by whole groups.

TRL shuffles the rows of a rollout before it splits them, so that the completions of one prompt end up in different
optimizer steps, and each step computes the prompt again. Here a group stays together: which groups share a step is
as random as before, but a step has its share of those that teach. Membership is the only thing that changes; each
row keeps its weight.

Changes TRL's buffer; must not know losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gspo_lite.training.loss.rows import Batch, cut, joined, matters, rows_of

GROUP = "group"  # the number of each row's group, unlike those of other rollouts, (B,)


class WholeGroups:
    """Mixin in front of TRL's `GRPOTrainer` whose optimizer steps hold whole groups, where their sizes allow it."""

    _groups_numbered = 0
    # of the trainer
    args: Any
    accelerator: Any
    model: Any
    num_generations: int
    _buffered_inputs: Any
    _step: int

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        output = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        if self.model.training and self._deals_groups:
            rows = torch.arange(rows_of(output), device=output["completion_ids"].device)
            output[GROUP] = self._groups_numbered + rows // self.num_generations
            self._groups_numbered += len(rows)
        return output

    @property
    def _deals_groups(self) -> bool:
        """Whether groups are of this process alone and every optimizer step is of one rollout."""
        whole = self.args.steps_per_generation % self.args.gradient_accumulation_steps == 0
        return whole and self.accelerator.num_processes == 1

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)  # type: ignore[misc]
        if not self.model.training or self._buffered_inputs is before:
            return inputs
        self._buffered_inputs = by_groups(self._buffered_inputs, self.args.gradient_accumulation_steps)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]


def by_groups(batches: Sequence[Batch], window: int) -> list[Batch]:
    """Return micro-batches of the same sizes whose optimizer steps hold whole groups, where they fit.

    Groups are dealt to the steps in the random order of their first rows, those with an advantage first. If there are
    fewer of these than steps, the rows stay where TRL's shuffle put them, because a step without a gradient would only
    repeat the optimizer's momentum.

    Args:
        batches: of one rollout, in the order they are used; left as they are with images, whose tensors have no row
            per completion, and without numbers of groups.
        window: micro-batches of one optimizer step, g.
    """
    if GROUP not in batches[0] or "pixel_values" in batches[0]:
        return list(batches)
    steps, pool = len(batches) // window, joined(batches)
    members, teaches = dict[int, list[int]](), matters(pool).tolist()
    for row, group in enumerate(pool[GROUP].tolist()):
        members.setdefault(group, []).append(row)
    idle = {group: not any(teaches[row] for row in rows) for group, rows in members.items()}
    if len(idle) - sum(idle.values()) < steps:
        return list(batches)
    hands = [members[group] for group in sorted(members, key=lambda group: idle[group])]
    order = torch.tensor([row for step in range(steps) for hand in hands[step::steps] for row in hand])
    parts = order.to(pool[GROUP].device).split([rows_of(batch) for batch in batches])
    return [{name: cut(name, value, rows, len(order), None, 0) for name, value in pool.items()} for rows in parts]
