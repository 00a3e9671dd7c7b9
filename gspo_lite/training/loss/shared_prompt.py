"""Computes each prompt of a micro-batch once for all of its completions, and no padding.

    tokens (N,)      the distinct prompts, then the completions, in one row: what all layers but attention see
    attention        in parts, padded on the right: the prompts, then completions of similar lengths, whose keys are
                     those of their prompt and their own

Every token keeps the position that it has in the padded batch, so that any kind of positions gives the same numbers.
Attention itself is the installed one, called for each part. Gradients reach a prompt from all of its completions.
Pure functions on tensors; must not know trainers. Letters: B rows, n distinct prompts, N tokens, M completion tokens,
b rows of a part with t queries and k keys each, H heads of width d.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from gspo_lite.training.loss.rows import cheapest_cuts

ATTENTION = "sdpa"  # the implementation of attention that can be told of blocks
BLOCKS = "prompt_blocks"  # keyword by which a model hands the blocks on to its attention
PARTS = 4  # most parts of completions
PART_COST = 2**15  # fixed cost of a part, in pairs of a query and a key


@dataclass(frozen=True)
class Part:
    """Rows whose attention is computed together.

    Attributes:
        queries, keys: their tokens, (b, t) and (b, k); at padding any token.
        visible: keys that a query sees (b, 1, t, k); None if these are all tokens up to itself.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    visible: torch.Tensor | None


@dataclass(frozen=True)
class Blocks:
    """Where the tokens of a micro-batch stand.

    Attributes:
        tokens, positions: ids and columns in the padded batch, (N,).
        width: columns of the padded batch.
        parts: of attention; every token is a query of one of them.
        order: place of each token among the queries of all parts, (N,).
        before: for each completion token the token in front of it, whose hidden state predicts it, (M,).
        targets: ids of the completion tokens, (M,).
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    width: int
    parts: Sequence[Part]
    order: torch.Tensor
    before: torch.Tensor
    targets: torch.Tensor

    def masks(self, window: int | None) -> Iterator[torch.Tensor | None]:
        """Yield what is visible in each part.

        Args:
            window: columns that a token looks back, itself included, in layers with a sliding window.
        """
        for part in self.parts:
            if window is None or window >= self.width:
                yield part.visible
            else:
                steps = torch.arange(part.queries.shape[1], device=part.queries.device)
                visible = steps[:, None] >= steps if part.visible is None else part.visible
                back = self.positions[part.queries][:, None, :, None] - self.positions[part.keys][:, None, None]
                yield visible & (back < window)


def blocks_of(ids: torch.Tensor, mask: torch.Tensor, width: int) -> Blocks | None:
    """Return the blocks of padded rows; None if they are not prompts padded on the left and completions on the right.

    Args:
        ids, mask: prompts and completions (B, W).
        width: columns of the completions.
    """
    start, used, device = ids.shape[1] - width, mask.bool(), ids.device
    if not padded_outside(used[:, :start].int(), used[:, start:].int()):
        return None
    own, first = distinct(torch.where(used[:, :start], ids[:, :start] + 1, 0))
    count, completions = len(first), used[:, start:].sum(1)
    # Prompts and completions are sequences, in this order; their tokens stand one after the other.
    lengths = torch.cat([used[first, :start].sum(1), completions])
    begins = lengths.cumsum(0) - lengths
    sequences = torch.arange(len(lengths), device=device).repeat_interleave(lengths)
    steps = torch.arange(len(sequences), device=device) - begins[sequences]
    columns = torch.cat([start - lengths[:count], torch.full_like(completions, start)])[sequences] + steps
    rows = torch.cat([first, torch.arange(len(ids), device=device)])[sequences]
    tokens, written = ids[rows, columns], sequences >= count
    last = (begins + lengths - 1)[own]  # of each row's prompt
    hands = attention_hands(completions.cpu().numpy(), lengths[own].cpu().numpy())
    parts, places = parts_of(hands, own, lengths, begins)
    previous = torch.where(steps == 0, last[rows], torch.arange(len(tokens), device=device) - 1)
    return Blocks(tokens, columns, ids.shape[1], parts, places[sequences] + steps, previous[written], tokens[written])


def parts_of(
    hands: Sequence[np.ndarray], own: torch.Tensor, lengths: torch.Tensor, begins: torch.Tensor
) -> tuple[list[Part], torch.Tensor]:
    """Return the parts of attention, and the place of each sequence's first token among their queries.

    Args:
        hands: rows of each part of completions.
        own: prompt of each row.
        lengths, begins: of the sequences, which are the prompts and then the completions.
    """
    count = len(lengths) - len(own)

    def tokens(sequences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        steps, ends = torch.arange(int(lengths[sequences].max()), device=own.device), lengths[sequences, None]
        return begins[sequences, None] + steps.minimum(ends - 1), steps < ends

    prompts, _ = tokens(torch.arange(count, device=own.device))
    places, taken = torch.zeros_like(lengths), prompts.numel()
    places[:count] = torch.arange(count, device=own.device) * prompts.shape[1]
    parts = [Part(prompts, prompts, None)]
    for hand in hands:
        rows = torch.from_numpy(hand).to(own.device)
        (asked, known), (queries, _) = tokens(own[rows]), tokens(count + rows)
        size, width = queries.shape
        before = known[:, None].expand(size, width, asked.shape[1])
        causal = torch.ones(width, width, dtype=torch.bool, device=own.device).tril().expand(size, -1, -1)
        parts.append(Part(queries, torch.cat([asked, queries], dim=1), torch.cat([before, causal], dim=2)[:, None]))
        places[count + rows] = taken + torch.arange(size, device=own.device) * width
        taken += queries.numel()
    return parts, places


def attention_hands(completions: np.ndarray, prompts: np.ndarray) -> list[np.ndarray]:
    """Return rows in parts of similar lengths, with the fewest pairs of a query and a key.

    Args:
        completions, prompts: lengths of each row's; rows without a completion are left out.
    """
    rows = np.argsort(-completions, kind="stable")[: np.count_nonzero(completions)]
    queries, keys = completions[rows], prompts[rows]
    cost = np.full((len(rows) + 1, len(rows) + 1), np.inf)
    np.fill_diagonal(cost, 0.0)
    for start, longest in enumerate(queries):
        pairs = longest * (longest + np.maximum.accumulate(keys[start:])) * np.arange(1, len(rows) - start + 1)
        cost[start, start + 1 :] = pairs + PART_COST
    cuts = np.cumsum(cheapest_cuts(cost, PARTS))[:-1]
    return [hand for hand in np.split(rows, cuts) if len(hand)]


def padded_outside(prompt: torch.Tensor, completion: torch.Tensor) -> bool:
    """Return whether masks (B, P) and (B, T) have all padding on the left and on the right, and tokens between."""
    sides = (prompt.diff(dim=1) >= 0).all() & (completion.diff(dim=1) <= 0).all()
    return bool(sides & prompt[:, -1].all() & completion.any())


def distinct(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the number of each row's kind (B,), and the first row of each kind (n,)."""
    kinds, own = torch.unique(rows, dim=0, return_inverse=True)
    index = torch.arange(len(rows), device=rows.device)
    return own, index.new_full((len(kinds),), len(rows)).scatter_reduce(0, own, index, "amin")


def in_parts(states: torch.Tensor, places: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield states (1, H, N, d) at places (b, t) of each part, as (b, H, t, d)."""
    _, heads, count, size = states.shape
    table = states[0].transpose(0, 1).reshape(count, heads * size)
    # An embedding, because its gradient adds up tokens that are used many times faster than that of an index.
    found = F.embedding(torch.cat([one.flatten() for one in places]), table)
    for part, one in zip(found.split([one.numel() for one in places]), places, strict=True):
        yield part.view(*one.shape, heads, size).transpose(1, 2)


def attend(
    attention: Any, module: Any, states: tuple[torch.Tensor, torch.Tensor, torch.Tensor], blocks: Blocks, **options: Any
) -> torch.Tensor:
    """Return the attention of all tokens, (1, N, H, d).

    Args:
        attention: the installed function for padded rows.
        states: queries, keys and values (1, H, N, d).
        options: what the model tells its attention.
    """
    queries, keys = [part.queries for part in blocks.parts], [part.keys for part in blocks.parts]
    padded = [in_parts(one, places) for one, places in zip(states, (queries, keys, keys), strict=True)]
    outputs = [
        attention(module, *block, visible, **options)[0].flatten(0, 1)
        for *block, visible in zip(*padded, blocks.masks(options.get("sliding_window")), strict=True)
    ]
    joined = torch.cat(outputs)
    return F.embedding(blocks.order, joined.flatten(1)).view(1, -1, *joined.shape[1:])


def teach_attention() -> None:
    """Let the implementation of attention take blocks; without them it does what it did."""
    installed = ALL_ATTENTION_FUNCTIONS[ATTENTION]
    if getattr(installed, "takes_blocks", False):
        return

    @functools.wraps(installed)
    def attention(module: Any, query: Any, key: Any, value: Any, *mask: Any, **options: Any) -> Any:
        blocks = options.pop(BLOCKS, None)
        if blocks is None:
            return installed(module, query, key, value, *mask, **options)
        options.pop("attention_mask", None)  # where the model names it
        return attend(installed, module, (query, key, value), blocks, **options), None

    attention.takes_blocks = True  # type: ignore[attr-defined]
    ALL_ATTENTION_FUNCTIONS[ATTENTION] = attention


def hidden_states(backbone: Any, blocks: Blocks) -> torch.Tensor:
    """Return the last hidden states (N, d) of a model without its head."""
    teach_attention()
    # A mask of four dimensions is handed on as it is; attention makes its own.
    unused = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=blocks.tokens.device)
    inputs = {"input_ids": blocks.tokens[None], "position_ids": blocks.positions[None], "attention_mask": unused}
    states: torch.Tensor = backbone(**inputs, use_cache=False, **{BLOCKS: blocks}).last_hidden_state[0]
    return states
