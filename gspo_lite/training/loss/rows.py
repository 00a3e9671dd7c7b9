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
OLD = "old_per_token_logps"
PROMPT = ("prompt_ids", "prompt_mask")
COMPLETION = (
    "completion_ids", "completion_mask", "tool_mask", "advantages", OLD, "ref_per_token_logps",
    "sampling_per_token_logps", "importance_sampling_ratio",
)  # fmt: skip
BY_TOKENS = ("bnpo",)  # loss types that divide by the tokens of their own micro-batch, so rows must stay in it
BY_WHOLE = ("dapo", "cispo", "vespo")  # loss types that divide by a number of the whole rollout
SUMS = (*BY_TOKENS, *BY_WHOLE, "grpo", "dr_grpo", "luspo", "sapo")  # loss types that sum rows times their advantage
LOSS_SCALE, ROW_SHARE, TOKEN_SHARE = "loss_scale", "row_share", "token_share"
MICRO_BATCH_COST = 64  # fixed cost of a micro-batch, in tokens
LEFT_OUT = "left_out"  # completions and tokens of a micro-batch not computed; negative if it took over some


@dataclass(frozen=True)
class RowRules:
    """What may be left out or moved under a configuration, and the reason if rows may not."""

    loss_type: str
    drop: bool  # leave out rows without an advantage
    pool: bool  # deal the rows of an optimizer step to its micro-batches by length
    trim_prompts: bool  # cut the columns of padding on the left, which shifts positions
    reason: str = ""

    def __str__(self) -> str:
        return f"computing every row ({self.reason})" if self.reason else "computing only rows that have an advantage"


def row_rules(loss_type: str, *, beta: float, entropy: bool, aux_loss: bool, rotary: bool, processes: int) -> RowRules:
    """Return the rules of a configuration.

    Args:
        entropy: the loss or its mask uses the entropy of every token.
        aux_loss: a router's auxiliary loss is trained on every token.
        rotary: only differences of positions matter, so that shifting a row changes nothing.
        processes: with more than one, all must compute batches of the same shape.
    """
    needs = {"the KL penalty": beta != 0, "the entropy": entropy, "the auxiliary loss": aux_loss}
    needed = [name for name, needs_all in needs.items() if needs_all]
    reason = f"{needed[0]} needs every row" if needed else "several processes compute in step" if processes > 1 else ""
    free = not reason
    moving = processes == 1 and not aux_loss and not entropy and loss_type not in BY_TOKENS
    return RowRules(loss_type, drop=free, pool=moving, trim_prompts=rotary, reason=reason)


class Size(NamedTuple):
    """Counts of a micro-batch: its rows, rows with a counted token, and counted tokens."""

    rows: float
    completions: float
    tokens: float


def size_of(mask: torch.Tensor) -> Size:
    """Return the size of a micro-batch with this completion mask (B, T)."""
    return Size(len(mask), float(mask.bool().any(1).sum()), float(mask.sum()))


def arranged(batches: Sequence[Batch], window: int, rules: RowRules) -> list[Batch]:
    """Return the micro-batches without what need not be computed; as many as before, some of them empty.

    Args:
        batches: of one rollout, in the order they are used; tensors (B, ...) and scalars.
        window: micro-batches of one optimizer step, g.
    """
    if any("pixel_values" in batch for batch in batches):
        return list(batches)  # tensors of images have no row per completion
    found: list[Batch] = []
    for start in range(0, len(batches), window):
        step = list(batches[start : start + window])
        found += dealt(step, rules) if rules.pool else [lean(batch, kept_rows(batch, rules), rules) for batch in step]
    return found


def dealt(step: Sequence[Batch], rules: RowRules) -> list[Batch]:
    """Deal the rows of one optimizer step, longest first, to its micro-batches with little padding."""
    pool = joined(step)
    rows = kept_rows(pool, rules)
    lengths = pool["completion_mask"].sum(1) + pool["prompt_mask"].sum(1)
    rows = rows[lengths[rows].argsort(descending=True, stable=True)]
    prompts = pool["prompt_mask"].flip(1) if rules.trim_prompts else torch.ones_like(pool["prompt_mask"])
    completions, prompts = (end_of(mask)[rows].cpu().numpy() for mask in (pool["completion_mask"], prompts))
    limit = rows_of(step[0]) * (pool["completion_ids"].shape[1] + pool["prompt_ids"].shape[1])
    counts = least_padding(completions, prompts, len(step), limit)
    average = Size(rows_of(step[0]), *(value / len(step) for value in size_of(pool["completion_mask"])[1:]))
    return [lean(pool, chunk, rules, average) for chunk in rows.split(counts)]


def least_padding(completions: np.ndarray, prompts: np.ndarray, parts: int, limit: int) -> list[int]:
    """Return the numbers of consecutive rows of `parts` micro-batches with the least total cost.

    A micro-batch costs its rows times the sum of its widest prompt and completion, and a fixed amount.

    Args:
        completions, prompts: widths of the rows.
        limit: most tokens of a micro-batch, padding included: TRL's own, so that memory does not grow. A cut into equal
            parts of TRL's size always exists.
    """
    count = len(completions)
    cost = np.full((count + 1, count + 1), np.inf)  # of rows i to j
    cost[np.arange(count + 1), np.arange(count + 1)] = 0.0
    for start in range(count):
        widest = np.maximum.accumulate(completions[start:]) + np.maximum.accumulate(prompts[start:])
        area = widest * np.arange(1, count - start + 1)
        cost[start, start + 1 :] = np.where(area <= limit, area + MICRO_BATCH_COST, np.inf)
    best, choices = cost[0], []
    for _ in range(parts - 1):
        total = best[:, None] + cost
        choices.append(total.argmin(0))
        best = total.min(0)
    ends = [count]
    for choice in reversed(choices):
        ends.append(int(choice[ends[-1]]))
    return np.diff([0, *reversed(ends)]).tolist()


def kept_rows(batch: Batch, rules: RowRules) -> torch.Tensor:
    """Return the indices of the rows that must be computed."""
    count = rows_of(batch)
    if not rules.drop:
        return torch.arange(count, device=batch["completion_ids"].device)
    advantages, mask = batch["advantages"], batch["completion_mask"].bool()
    matters = advantages if advantages.dim() == 2 else advantages.unsqueeze(1)
    return ((matters != 0) & mask).any(1).nonzero().squeeze(1)  # NaN is not 0 and stays to be seen


def lean(batch: Batch, kept: torch.Tensor, rules: RowRules, whole: Size | None = None, trim: bool = True) -> Batch:
    """Return these rows of a batch, cut to their lengths, with the factor that restores their loss weight.

    Args:
        kept: indices of rows; none makes an empty micro-batch.
        whole: size of the micro-batch that this one replaces; the batch's own if left out.
        trim: cut columns that no row uses.
    """
    whole = size_of(batch["completion_mask"]) if whole is None else whole
    mask = batch["completion_mask"][kept]
    width = used_columns(mask) if trim else None
    left = unused_left(batch["prompt_mask"][kept]) if trim and rules.trim_prompts else 0
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
