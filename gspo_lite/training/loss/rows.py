"""What a micro-batch must compute: the rows whose advantage is not 0, cut to their lengths and grouped by length.

A completion whose advantages are all 0 adds nothing to the gradient, and padding adds nothing to anything. Leaving
both out changes neither loss nor gradient beyond rounding if every row keeps its weight: in a window of g micro-batches
of B rows a row weighs 1 / (g B), whichever micro-batch computes it. `loss_scale` restores that.

Pure functions on a rollout's tensors; must not know trainers. Letters: B rows of a micro-batch, T completion width,
g micro-batches of an optimizer step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

Batch = dict[str, Any]
OLD, REFERENCE, SAMPLED = "old_per_token_logps", "ref_per_token_logps", "sampling_per_token_logps"
SAMPLER_RATIO = "importance_sampling_ratio"  # of the trainer to vLLM, where stock TRL corrects it
PROMPT = ("prompt_ids", "prompt_mask")
COMPLETION = (
    "completion_ids", "completion_mask", "tool_mask", "advantages", OLD, REFERENCE, SAMPLED, SAMPLER_RATIO,
)  # fmt: skip
BY_TOKENS = ("bnpo",)  # loss types that divide by the tokens of their own micro-batch, so rows must stay in it
BY_WHOLE = ("dapo", "cispo", "vespo")  # loss types that divide by a number of the whole rollout
SUMS = (*BY_TOKENS, *BY_WHOLE, "grpo", "dr_grpo", "luspo", "sapo")  # loss types that sum rows times their advantage
LOSS_SCALE, ROW_SHARE, TOKEN_SHARE = "loss_scale", "row_share", "token_share"
MICRO_BATCH_COST = 64  # fixed cost of a micro-batch, in tokens
PICTURES = (  # what a model is told of images and videos
    "pixel_values", "image_grid_thw", "num_images", "pixel_attention_mask", "spatial_shapes", "num_tiles",
    "image_sizes", "token_type_ids", "mm_token_type_ids", "image_position_ids", "pixel_position_ids",
    "pixel_values_videos", "video_grid_thw", "second_per_grid_ts", "num_videos",
)  # fmt: skip
UNTOUCHED = {"pixel_values", "pixel_values_videos", "unsloth_sample_weight"}  # a batch with one of these stays whole
ATTENTION_SHARE = 0.25  # of a token's cost; the rest is computed without padding where prompts are shared
LEFT_OUT = "left_out"  # completions and tokens of a micro-batch not computed; negative if it took over some


@dataclass(frozen=True)
class RowRules:
    """What may be left out or moved under a configuration, and the reason if rows may not."""

    loss_type: str
    drop: bool  # leave out rows without an advantage
    pool: bool  # deal the rows of an optimizer step to its micro-batches by length
    trim_prompts: bool  # cut the columns of padding on the left, which shifts positions
    trim: bool = True  # cut columns that no row uses
    reason: str = ""
    shared: bool = False  # a prompt is computed once in a micro-batch, and no padding but in attention

    def __str__(self) -> str:
        return f"computing every row ({self.reason})" if self.reason else "computing only rows that have an advantage"


def sharing(reason: str = "") -> str:
    """Return what is said once about shared prompts, and the reason if they are not."""
    if reason:
        return f"note     each prompt is computed again for each of its completions ({reason})"
    return "         each prompt is computed once for the completions of its group in a micro-batch"


def row_rules(
    loss_type: str, *, beta: float, entropy: bool, aux_loss: bool, rotary: bool, processes: int, shared: bool = False
) -> RowRules:
    """Return the rules of a configuration.

    Args:
        entropy: the loss or its mask uses the entropy of every token.
        aux_loss: a router's auxiliary loss is trained on every token.
        rotary: only differences of positions matter, so that shifting a row changes nothing.
        processes: with more than one, all compute micro-batches of as many rows as each other.
        shared: a prompt is computed once in a micro-batch.
    """
    needs = {"the KL penalty": beta != 0, "the entropy": entropy, "the auxiliary loss": aux_loss}
    needed = [name for name, needs_all in needs.items() if needs_all]
    reason = f"{needed[0]} needs every row" if needed else ""
    pool = processes == 1 and not aux_loss and not entropy and loss_type not in BY_TOKENS
    return RowRules(loss_type, drop=not reason, pool=pool, trim_prompts=rotary, reason=reason, shared=shared)


class Size(NamedTuple):
    """Counts of a micro-batch: its rows, rows with a counted token, and counted tokens."""

    rows: float
    completions: float
    tokens: float


def size_of(mask: torch.Tensor) -> Size:
    """Return the size of a micro-batch with this completion mask (B, T)."""
    return Size(len(mask), float(mask.bool().any(1).sum()), float(mask.sum()))


def arranged(batches: Sequence[Batch], window: int, rules: RowRules, least: Sequence[int] = ()) -> list[Batch]:
    """Return the micro-batches without what need not be computed; as many as before, some of them empty.

    Args:
        batches: of one rollout, in the order they are used; tensors (B, ...) and scalars.
        window: micro-batches of one optimizer step, g.
        least: rows that each micro-batch keeps at least, where rules do not pool them.
    """
    if any(UNTOUCHED & batch.keys() for batch in batches):
        return list(batches)  # tensors of images have no row per completion
    if rules.pool:
        steps = (batches[start : start + window] for start in range(0, len(batches), window))
        return [batch for step in steps for batch in dealt(step, rules)]
    pairs = zip(batches, least or [0] * len(batches), strict=True)
    return [lean(batch, kept_rows(batch, rules, few), rules) for batch, few in pairs]


def dealt(step: Sequence[Batch], rules: RowRules) -> list[Batch]:
    """Deal the rows of one optimizer step, longest first, to its micro-batches at the least cost.

    Rows of one prompt stay side by side where it is computed once for them.
    """
    pool = joined(step)
    rows = kept_rows(pool, rules)
    lengths = pool["completion_mask"].sum(1) + pool["prompt_mask"].sum(1)
    rows = rows[lengths[rows].argsort(descending=True, stable=True)]
    asked = None
    if rules.shared:
        asked = first_with(pool["prompt_ids"] * pool["prompt_mask"], rows)
        rows, asked = rows[asked.argsort(stable=True)], asked.sort().values.cpu().numpy()
    prompts = pool["prompt_mask"].flip(1) if rules.trim_prompts else torch.ones_like(pool["prompt_mask"])
    completions, prompts = (end_of(mask)[rows].cpu().numpy() for mask in (pool["completion_mask"], prompts))
    limit = rows_of(step[0]) * (pool["completion_ids"].shape[1] + pool["prompt_ids"].shape[1])
    counts = cheapest_cuts(costs(completions, prompts, limit, asked), len(step))
    average = Size(rows_of(step[0]), *(value / len(step) for value in size_of(pool["completion_mask"])[1:]))
    return [lean(pool, chunk, rules, average) for chunk in rows.split(counts)]


def first_with(prompts: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return for each of these rows the place in `rows` of the first one that has its prompt, (rows,)."""
    kinds = torch.unique(prompts[rows], dim=0, return_inverse=True)[1]
    places = torch.arange(len(rows), device=rows.device)
    first = places.new_full((len(rows),), len(rows)).scatter_reduce(0, kinds, places, "amin")
    return first[kinds]


def costs(completions: np.ndarray, prompts: np.ndarray, limit: int, asked: np.ndarray | None = None) -> np.ndarray:
    """Return the cost in tokens of a micro-batch of rows i to j - 1 at [i, j], infinite beyond the limit.

    A micro-batch has an area, its rows times the sum of its widest prompt and completion, and a fixed cost. The area is
    computed; where prompts are shared only attention sees it, and each prompt is computed once.

    Args:
        completions, prompts: widths of the rows.
        limit: largest area of a micro-batch: TRL's own, so that memory does not grow. A cut into equal parts of TRL's
            size always exists.
        asked: which prompt a row has; its rows stand side by side. None if prompts are not shared.
    """
    count = len(completions)
    cost = np.full((count + 1, count + 1), np.inf)
    cost[np.arange(count + 1), np.arange(count + 1)] = 0.0
    for start in range(count):
        widest = np.maximum.accumulate(completions[start:]) + np.maximum.accumulate(prompts[start:])
        area = widest * np.arange(1, count - start + 1)
        tokens = area
        if asked is not None:
            new = np.diff(asked[start:], prepend=-1) != 0
            tokens = area * ATTENTION_SHARE + np.cumsum(prompts[start:] * new + completions[start:])
        cost[start, start + 1 :] = np.where(area <= limit, tokens + MICRO_BATCH_COST, np.inf)
    return cost


def cheapest_cuts(cost: np.ndarray, parts: int) -> list[int]:
    """Return the numbers of consecutive rows in `parts` micro-batches at the least total cost, (rows + 1, rows + 1)."""
    best, choices = cost[0], []
    for _ in range(parts - 1):
        total = best[:, None] + cost
        choices.append(total.argmin(0))
        best = total.min(0)
    ends = [len(cost) - 1]
    for choice in reversed(choices):
        ends.append(int(choice[ends[-1]]))
    return np.diff([0, *reversed(ends)]).tolist()


def kept_rows(batch: Batch, rules: RowRules, least: int = 0) -> torch.Tensor:
    """Return the indices of the rows that must be computed, and of the shortest others up to `least` rows in all."""
    keep = matters(batch) if rules.drop else torch.ones_like(batch["completion_mask"][:, 0]).bool()
    if int(keep.sum()) < least:
        lengths = batch["completion_mask"].sum(1).masked_fill(keep, -1)
        keep[lengths.argsort(stable=True)[:least]] = True
    return keep.nonzero().squeeze(1)


def matters(batch: Batch) -> torch.Tensor:
    """Return whether each row has a token with an advantage, (B,)."""
    advantages = batch["advantages"] if batch["advantages"].dim() == 2 else batch["advantages"].unsqueeze(1)
    return ((advantages != 0) & batch["completion_mask"].bool()).any(1)  # NaN is not 0 and stays to be seen


def lean(batch: Batch, kept: torch.Tensor, rules: RowRules, whole: Size | None = None) -> Batch:
    """Return these rows of a batch, cut to their lengths, with the factor that restores their loss weight.

    Args:
        kept: indices of rows; none makes an empty micro-batch.
        whole: size of the micro-batch that this one replaces; the batch's own if left out.
    """
    whole = size_of(batch["completion_mask"]) if whole is None else whole
    mask = batch["completion_mask"][kept]
    width = used_columns(mask) if rules.trim else None
    left = unused_left(batch["prompt_mask"][kept]) if rules.trim and rules.trim_prompts else 0
    found = {name: cut(name, value, kept, rows_of(batch), width, left) for name, value in batch.items()}
    size = size_of(mask)
    row_share, token_share = size.rows / whole.rows, size.tokens / max(whole.tokens, 1.0)
    scale = 1.0 if rules.loss_type in BY_WHOLE else token_share if rules.loss_type in BY_TOKENS else row_share
    left_out = (whole.completions - size.completions, whole.tokens - size.tokens)
    return found | {LOSS_SCALE: scale, ROW_SHARE: row_share, TOKEN_SHARE: token_share, LEFT_OUT: left_out}


def cut(name: str, value: Any, kept: torch.Tensor, count: int, width: int | None, left: int) -> Any:
    """Return one entry of a batch for these rows and columns; an entry without rows is unchanged."""
    if isinstance(value, list) and len(value) == count:
        return [value[row] for row in kept.tolist()]
    if not isinstance(value, torch.Tensor) or value.dim() == 0 or len(value) != count:
        return value
    value = value[kept]
    if name in PROMPT:
        return value[:, left:]
    return value[:, :width] if name in COMPLETION and value.dim() == 2 and value.shape[1] > 1 else value


def joined(step: Sequence[Batch]) -> Batch:
    """Return several micro-batches of equal width as one; scalars are the same in all."""
    pool = dict(step[0])
    for name, value in step[0].items():
        if isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == rows_of(step[0]):
            pool[name] = torch.cat([batch[name] for batch in step])
        elif isinstance(value, list) and len(value) == rows_of(step[0]):
            pool[name] = [item for batch in step for item in batch[name]]
    return pool


def rows_of(batch: Batch) -> int:
    """Return the number of rows, B."""
    return len(batch["completion_ids"])


def end_of(mask: torch.Tensor) -> torch.Tensor:
    """Return the columns of each row up to its last used one, (B,); a mask may have holes."""
    return (mask.bool() * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(1)


def used_columns(mask: torch.Tensor) -> int:
    """Return the columns up to the last that any row uses, at least 1; a mask may have holes."""
    used = mask.bool().any(0).nonzero()
    return int(used[-1]) + 1 if len(used) else 1


def unused_left(mask: torch.Tensor) -> int:
    """Return the unused columns on the left; at least one column remains."""
    used = mask.bool().any(0).nonzero()
    return int(used[0]) if len(used) else mask.shape[1] - 1
