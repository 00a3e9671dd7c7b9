"""Samples more prompts than a rollout trains on, in one call, so that groups that teach nothing can be left out.

DAPO (arXiv 2503.14476, section 3.2) samples again until every group of a batch has different rewards. Here each rollout
asks `sample_factor` times its prompts at once: a step of decoding reads all weights, however few sequences it serves.
The first groups with variance, in the order of the data, make the rollout; where they are too few, the first flat ones
fill it, add 0, and count in the means of the loss. Whether a group has variance is all that its rewards decide.

Groups with variance beyond the rollout's size are dropped, not kept for the next one: by then the policy has taken
every step of a rollout away from the one that sampled them, and GSPO's clip is meant for the ratios within a rollout.

Figures of rewards and completions are those of all that was sampled, or curves would look better than the model is.
Metrics, once per rollout:

    gspo/oversample/flat_share       share of the groups trained on that have no variance
    gspo/oversample/dropped_share    share of the groups with variance that did not fit into the rollout
    gspo/oversample/dropped_tokens   tokens of the prompts and completions that are not trained on

Must not know losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from trl.generation.vllm_generation import VLLMGeneration

from gspo_lite.errors import UsageError
from gspo_lite.training.loss.rows import Batch, cut, matters, rows_of

METRIC = "gspo/oversample/"


def refuse_oversampling(args: Any, columns: Sequence[str] | None) -> None:
    """Refuse to sample more prompts where a part of the groups cannot be chosen.

    Args:
        args: the trainer's `GSPOConfig`; nothing is refused if its `sample_factor` is 1.
        columns: of the training data; None if they are not known.
    """
    if args.sample_factor == 1:
        return
    columns = columns or ()
    reasons = {
        "it must be a whole number of at least 1": args.sample_factor != max(int(args.sample_factor), 1),
        "several processes would each have groups of their own to choose from": args.world_size > 1,
        "tensors of images have no row for each completion": "image" in columns or "images" in columns,
        "multi_objective_aggregation `normalize_then_sum` gives groups without variance an advantage as well": (
            args.multi_objective_aggregation != "sum_then_normalize"
        ),
    }
    found = next((reason for reason, holds in reasons.items() if holds), None)
    if found is not None:
        raise UsageError(f"generation.sample_factor is {args.sample_factor}, but {found}", "set it to 1")


@contextmanager
def room_in_vllm(factor: int) -> Iterator[None]:
    """Let a vLLM that TRL builds serve `factor` rollouts at a time; TRL asks for one, and the others would wait."""
    build = VLLMGeneration.__init__

    def with_room(self: Any, *args: Any, max_num_seqs: int | None = None, **options: Any) -> None:
        build(self, *args, max_num_seqs=max_num_seqs and factor * max_num_seqs, **options)

    VLLMGeneration.__init__ = with_room
    try:
        yield
    finally:
        VLLMGeneration.__init__ = build


class Oversampling:
    """Mixin in front of the trainer that asks for more prompts and keeps a part of the groups."""

    # of the trainer
    args: Any
    num_generations: int
    rollout: list[dict[str, Any]]
    _metrics: Any
    _train_batch_size: int

    def get_train_dataloader(self) -> Any:
        """Return batches of `sample_factor` times a rollout's prompts; so an epoch has fewer of them."""
        sizes = self.args.generation_batch_size, self._train_batch_size
        self._set_sizes(*(self.args.sample_factor * size for size in sizes))
        try:
            return super().get_train_dataloader()  # type: ignore[misc]
        finally:
            self._set_sizes(*sizes)

    def _set_sizes(self, rollout: int, batch: int) -> None:
        self.args.generation_batch_size, self._train_batch_size = rollout, batch

    def _chosen(self, output: Batch) -> Batch:
        """Return the part of the groups just scored that is trained on, and leave only their rows in `rollout`.

        Args:
            output: tensors (B, ...) and lists of B, in whole groups.
        """
        teaches: list[bool] = matters(output).view(-1, self.num_generations).any(1).tolist()
        groups = chosen_groups(teaches, len(teaches) // self.args.sample_factor)
        rows = rows_in(groups, self.num_generations)
        kept, varying = part_of(output, rows), sum(teaches[group] for group in groups)
        self.rollout = [self.rollout[row] for row in rows]
        figures = {
            "flat_share": 1 - varying / len(groups),
            "dropped_share": 1 - varying / max(sum(teaches), 1) if varying else 0.0,
            "dropped_tokens": float(tokens_of(output) - tokens_of(kept)),
        }
        for name, value in figures.items():
            self._metrics["train"][METRIC + name].append(value)
        return kept


def chosen_groups(teaches: Sequence[bool], count: int) -> list[int]:
    """Return the first `count` groups that teach, filled up with the first of the others, in the order of all."""
    order = sorted(range(len(teaches)), key=lambda group: not teaches[group])  # a stable sort
    return sorted(order[:count])


def part_of(output: Batch, rows: Sequence[int]) -> Batch:
    """Return these rows of a rollout, at its widths; `num_items_in_batch` is counted anew."""
    index = torch.tensor(rows, device=output["completion_ids"].device)
    kept = {name: cut(name, value, index, rows_of(output), None, 0) for name, value in output.items()}
    return kept | {"num_items_in_batch": counted(kept).sum()}


def counted(output: Batch) -> torch.Tensor:
    """Return the mask (B, T) of the tokens in the loss: sampled by the model, not inserted by a tool."""
    mask: torch.Tensor = output["completion_mask"]
    return mask * output["tool_mask"] if "tool_mask" in output else mask


def tokens_of(output: Batch) -> int:
    """Return the tokens of prompts and of what the model sampled."""
    return int(output["prompt_mask"].sum() + counted(output).sum())


def rows_in(groups: Sequence[int], num_generations: int) -> list[int]:
    """Return the rows of these groups."""
    return [group * num_generations + one for group in groups for one in range(num_generations)]
