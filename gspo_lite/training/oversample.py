"""Dynamic sampling: replaces groups of a rollout that teach nothing by groups of fresh prompts.

DAPO (arXiv 2503.14476, section 3.2) samples until every group of a batch has different rewards. Here the number of
extra rounds is limited. Each draws as many fresh prompts as there are groups without variance, from a seeded order,
samples and scores them like the rollout, and swaps each new group with variance for one without. Groups that are flat
after the last round stay, add 0, and count in the means of the loss as before. Figures of rewards and completions
are those of the rollout before any swap, or curves would look better than the model is; only `num_tokens` and each
reward's counts and seconds include all groups. Metrics, once per rollout:

    gspo/oversample/extra_groups   groups sampled beyond the rollout
    gspo/oversample/extra_tokens   tokens of their prompts and completions
    gspo/oversample/kept_share     share of the extra groups that were swapped in
    gspo/oversample/flat_share     share of the rollout's groups that are still flat
    gspo/oversample/seconds        time of the extra rounds

Must not know losses.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gspo_lite.data.keys import key_of
from gspo_lite.errors import UsageError
from gspo_lite.models.kinds import tokenizer_of
from gspo_lite.rewards.contract.sums import all_equal, weighted_sum
from gspo_lite.training.loss.rows import COMPLETION, OLD, PROMPT, Batch, rows_of
from gspo_lite.training.scoring import call_metrics

METRIC = "gspo/oversample/"


def refuse_oversampling(args: Any, columns: Sequence[str] | None, *, unsloth: bool) -> None:
    """Refuse to oversample where groups of two generations cannot be joined.

    Args:
        args: the trainer's `GSPOConfig`; nothing is refused if its `oversample` is 0.
        columns: of the training data; None if it has no rows to choose from.
        unsloth: whether the trainer is Unsloth's.
    """
    if not args.oversample:
        return
    columns = columns or ()
    reasons = {
        "Unsloth's trainer packs a rollout in one piece; set model.backend to `transformers`": unsloth,
        "several processes would need different numbers of rounds": args.world_size > 1,
        "the training data must be a data set with a column `prompt`": "prompt" not in columns,
        "prompts with images are not supported": "image" in columns or "images" in columns,
        "advantages must come from one group alone: scale_rewards `group` or `none`, and rewards summed first": (
            args.scale_rewards == "batch" or args.multi_objective_aggregation != "sum_then_normalize"
        ),
    }
    found = next((reason for reason, holds in reasons.items() if holds), None)
    if found is not None:
        raise UsageError(f"generation.oversample is {args.oversample}, but {found}", "set it to 0")


class FreshPrompts:
    """Rows of the data in a separate seeded order, each once before any comes again.

    Attributes:
        drawn: rows passed so far; a checkpoint keeps only this.
    """

    def __init__(self, rows: Any, seed: int):
        self.rows, self.seed, self.drawn = rows, seed, 0

    def draw(self, count: int, asked: Sequence[Any]) -> list[dict[str, Any]]:
        """Return up to `count` rows whose keys are new to `asked`; fewer if a pass over the data has no more."""
        asked, found = list(asked), list[dict[str, Any]]()
        for _ in range(len(self.rows)):
            if len(found) == count:
                break
            epoch, place = divmod(self.drawn, len(self.rows))
            row = self.rows[int(order(len(self.rows), self.seed, epoch)[place])]
            self.drawn += 1
            if key_of(row) not in asked:
                asked.append(key_of(row))
                found.append(row)
        return found


@functools.lru_cache(maxsize=1)
def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of `count` rows in one pass, a different one in each."""
    return np.random.default_rng([seed, epoch]).permutation(count)


class Oversampler:
    """Swap groups without variance for fresh ones, in at most `rounds` rounds per rollout of `trainer`."""

    def __init__(self, trainer: Any, rounds: int):
        self.trainer, self.rounds = trainer, rounds
        self.prompts = FreshPrompts(trainer.train_dataset, trainer.args.seed)

    def filled(self, output: Batch, inputs: Sequence[dict[str, Any]]) -> tuple[Batch, list[dict[str, Any]]]:
        """Swap the flat groups of the rollout just scored; return its tensors and its rows as trained on.

        Args:
            output: the rollout's tensors (B, ...), in whole groups.
            inputs: the prompts' rows of the data, B.
        """
        trainer, group = self.trainer, self.trainer.num_generations
        began, tokens = time.perf_counter(), trainer.state.num_input_tokens_seen
        rollout, asked = list(trainer.rollout), [key_of(row) for row in inputs[::group]]
        flat, sampled, kept = self._flat(output, rollout), 0, 0
        for _ in range(self.rounds):
            fresh = self.prompts.draw(len(flat), asked)
            if not fresh:
                break
            asked += [key_of(row) for row in fresh]
            extra = self._sampled([dict(row) for row in fresh for _ in range(group)])
            teaching = sorted(set(range(len(fresh))) - set(self._flat(extra, trainer.rollout)))
            into, rows = rows_in(flat[: len(teaching)], group), rows_in(teaching, group)
            output = swapped(output, extra, into, rows, tokenizer_of(trainer.processing_class).pad_token_id)
            for there, here in zip(into, rows, strict=True):
                rollout[there] = trainer.rollout[here]
            flat, sampled, kept = flat[len(teaching) :], sampled + len(fresh), kept + len(teaching)
        if kept:
            self._rescore(output, inputs)
        figures = {
            "extra_groups": sampled,
            "extra_tokens": trainer.state.num_input_tokens_seen - tokens,
            "flat_share": len(flat) * group / len(rollout),
            "seconds": time.perf_counter() - began,
        } | ({"kept_share": kept / sampled} if sampled else {})
        for name, value in figures.items():
            trainer._metrics["train"][METRIC + name].append(float(value))
        return output, rollout

    def _flat(self, output: Batch, rollout: Sequence[dict[str, Any]]) -> list[int]:
        weights = self.trainer.reward_weights.tolist()
        sums = [weighted_sum(list(row["rewards"].values()), weights) for row in rollout]
        return flat_groups(output, sums, self.trainer.num_generations)

    def _sampled(self, inputs: list[dict[str, Any]]) -> Batch:
        """Return sampled and scored completions of these rows; only reward calls and tokens enter the metrics."""
        metrics = self.trainer._metrics["train"]
        before = {name: len(values) for name, values in metrics.items()}
        extra: Batch = self.trainer._scored(inputs)
        for name in list(metrics):
            del metrics[name][before.get(name, 0) :]
            if not metrics[name]:
                del metrics[name]
        for name, value in call_metrics(self.trainer.calls).items():
            metrics[name][-1] += value
        return extra

    def _rescore(self, output: Batch, inputs: Sequence[dict[str, Any]]) -> None:
        """Recompute old log-probs of rows of two generations at their common width, at which they are trained.

        TRL's, computed at other widths, are rounded differently, in bfloat16 by more than GSPO's clip. On the lean path
        there are none yet.
        """
        if OLD not in output or self.trainer._scores_old_itself(inputs):
            return
        size = self.trainer.args.per_device_train_batch_size
        starts = range(0, rows_of(output), size)
        parts = [{name: output[name][at : at + size] for name in (*PROMPT, *COMPLETION[:2])} for at in starts]
        output[OLD] = torch.cat([self.trainer._old_logps(part) for part in parts])


def flat_groups(output: Batch, sums: Sequence[float | None], num_generations: int) -> list[int]:
    """Return the indices of groups without variance: equal rewards, or no advantage on any counted token.

    Args:
        output: advantages (B,) or (B, T), completion_mask (B, T) and, with tools, tool_mask (B, T).
        sums: each completion's R, B; None where nothing could judge it.
    """
    advantages, mask = output["advantages"], counted(output)
    moves = ((advantages if advantages.dim() == 2 else advantages.unsqueeze(1)) != 0) & mask.bool()
    moved = moves.any(1).view(-1, num_generations).any(1).tolist()
    starts = range(0, len(sums), num_generations)
    flat = [all_equal(sums[start : start + num_generations]) for start in starts]
    return [group for group, moves in enumerate(moved) if flat[group] or not moves]


def swapped(output: Batch, extra: Batch, into: Sequence[int], rows: Sequence[int], pad_token_id: int) -> Batch:
    """Return the rollout with rows `into` replaced by `rows` of another, padded to the wider of both."""
    if output["advantages"].dim() != extra["advantages"].dim():
        output, extra = by_token(output), by_token(extra)
    count, joined = rows_of(output), dict(output)
    for name, value in output.items():
        if isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == count:
            width = max(value.shape[1], extra[name].shape[1]) if value.dim() == 2 else 0
            joined[name] = widened(name, value, width, pad_token_id).clone()
            joined[name][into] = widened(name, extra[name], width, pad_token_id)[rows]
    joined["num_items_in_batch"] = counted(joined).sum()
    return joined


def widened(name: str, value: torch.Tensor, width: int, pad_token_id: int) -> torch.Tensor:
    """Return an entry (B, W) padded to `width` columns, on the left for prompts; return an entry (B,) unchanged."""
    if value.dim() != 2 or value.shape[1] == width:
        return value
    if name not in (*PROMPT, *COMPLETION):
        raise TypeError(f"`{name}` of a rollout cannot be joined: it is unknown on which side it is padded")
    missing = width - value.shape[1]
    sides = (missing, 0) if name in PROMPT else (0, missing)
    return torch.nn.functional.pad(value, sides, value=pad_token_id if name.endswith("_ids") else 0)


def by_token(output: Batch) -> Batch:
    """Return the rollout with advantages (B, T), each completion's repeated on all of its tokens."""
    advantages = output["advantages"]
    if advantages.dim() == 2:
        return output
    return {**output, "advantages": advantages.unsqueeze(1).expand(output["completion_ids"].shape)}


def counted(output: Batch) -> torch.Tensor:
    """Return the mask (B, T) of the tokens in the loss: sampled by the model, not inserted by a tool."""
    mask: torch.Tensor = output["completion_mask"]
    return mask * output["tool_mask"] if "tool_mask" in output else mask


def rows_in(groups: Sequence[int], num_generations: int) -> list[int]:
    """Return the rows of these groups."""
    return [group * num_generations + one for group in groups for one in range(num_generations)]
