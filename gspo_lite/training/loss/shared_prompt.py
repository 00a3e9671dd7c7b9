"""Computes each prompt of a micro-batch once for all of its completions, and no padding.

    tokens (N,)      the distinct prompts, then the completions, in one row: what all layers but attention see
    attention        each prompt looks at itself; each completion at its prompt and itself: prompts (n, P) padded on
                     the right with queries and keys, completions (B, T) with queries, and keys (B, P + T)

Every token keeps the position that it has in the padded batch, so that any kind of positions gives the same numbers.
Attention itself is the installed one, called for these blocks. Gradients reach a prompt from all of its completions.
Pure functions on tensors; must not know trainers. Letters: B rows, n distinct prompts, P and T their widest prompt and
completion, N tokens, M completion tokens, H heads of width d.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

ATTENTION = "sdpa"  # the implementation of attention that can be told of blocks
BLOCKS = "prompt_blocks"  # keyword by which a model hands the blocks on to its attention


@dataclass(frozen=True)
class Blocks:
    """Where the tokens of a micro-batch stand.

    Attributes:
        tokens, positions: ids and columns in the padded batch, (N,).
        shape: n, P, B, T.
        queries: token at each place of the padded prompts and completions, (n P + B T,); at a padded place any token.
        keys: the same for the prompts and for each completion behind its prompt, (n P + B (P + T),).
        order: place of each token among those of `queries`, (N,).
        visible: keys that the queries of a completion see, (B, 1, T, P + T).
        columns: of the completions' keys, (B, P + T).
        before: for each completion token the token in front of it, whose hidden state predicts it, (M,).
        targets: ids of the completion tokens, (M,).
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    shape: tuple[int, int, int, int]
    queries: torch.Tensor
    keys: torch.Tensor
    order: torch.Tensor
    visible: torch.Tensor
    columns: torch.Tensor
    before: torch.Tensor
    targets: torch.Tensor

    def masks(self, window: int | None) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Return what prompts (P, P) and completions (B, 1, T, P + T) see; None is all before and itself.

        Args:
            window: columns that a token looks back, itself included, in layers with a sliding window.
        """
        prompt = self.shape[1]
        if window is None or window >= int(self.columns.max()) + 1:
            return None, self.visible
        back = torch.arange(prompt, device=self.tokens.device)
        back = back[:, None] - back
        own = self.columns[:, None, prompt:, None] - self.columns[:, None, None]
        return ((back >= 0) & (back < window))[None, None], self.visible & (own < window)


def blocks_of(ids: torch.Tensor, mask: torch.Tensor, width: int) -> Blocks | None:
    """Return the blocks of padded rows; None if they are not prompts padded on the left and completions on the right.

    Args:
        ids, mask: prompts and completions (B, W).
        width: columns of the completions.
    """
    start, used = ids.shape[1] - width, mask.bool()
    if not padded_outside(used[:, :start].int(), used[:, start:].int()):
        return None
    own, first = distinct(torch.where(used[:, :start], ids[:, :start] + 1, 0))
    prompt_lengths, lengths = used[first, :start].sum(1), used[:, start:].sum(1)
    count, prompt, rows, longest = len(first), int(prompt_lengths.max()), len(ids), int(lengths.max())
    steps = torch.arange(max(prompt, longest), device=ids.device)
    in_prompt = steps[:prompt] < prompt_lengths[:, None]
    in_completion = steps[:longest] < lengths[:, None]
    real = torch.cat([in_prompt.flatten(), in_completion.flatten()])
    queries, order = (real.cumsum(0) - 1).clamp(min=0), real.nonzero().squeeze(1)
    prompts, completions = queries[: count * prompt].view(count, prompt), queries[count * prompt :].view(rows, longest)
    prompt_columns = (start - prompt_lengths[:, None] + steps[:prompt]).clamp(max=start - 1)
    columns = torch.cat([prompt_columns[own], (start + steps[:longest]).expand(rows, longest)], dim=1)
    prompt_ids, completion_ids = ids[first[:, None], prompt_columns], ids[:, start : start + longest]
    causal = (steps[:longest, None] >= steps[:longest]).expand(rows, longest, longest)
    seen = torch.cat([in_prompt[own][:, None].expand(rows, longest, prompt), causal], dim=2)
    last = prompts.gather(1, prompt_lengths[:, None] - 1)
    return Blocks(
        tokens=torch.cat([prompt_ids.flatten(), completion_ids.flatten()])[order],
        positions=torch.cat([prompt_columns.flatten(), columns[:, prompt:].flatten()])[order],
        shape=(count, prompt, rows, longest),
        queries=queries,
        keys=torch.cat([prompts.flatten(), torch.cat([prompts[own], completions], dim=1).flatten()]),
        order=order,
        visible=seen[:, None],
        columns=columns,
        before=torch.cat([last[own], completions[:, :-1]], dim=1)[in_completion],
        targets=completion_ids[in_completion],
    )


def padded_outside(prompt: torch.Tensor, completion: torch.Tensor) -> bool:
    """Return whether masks (B, P) and (B, T) have all padding on the left and on the right, and tokens between."""
    sides = (prompt.diff(dim=1) >= 0).all() & (completion.diff(dim=1) <= 0).all()
    return bool(sides & prompt[:, -1].all() & completion.any())


def distinct(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the number of each row's kind (B,), and the first row of each kind (n,)."""
    kinds, own = torch.unique(rows, dim=0, return_inverse=True)
    index = torch.arange(len(rows), device=rows.device)
    return own, index.new_full((len(kinds),), len(rows)).scatter_reduce(0, own, index, "amin")


def padded(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return states (1, H, N, d) at these places, (places, H, d)."""
    _, heads, count, size = states.shape
    # An embedding, because its gradient adds up tokens that are used many times faster than that of an index.
    return F.embedding(places, states[0].transpose(0, 1).reshape(count, heads * size)).view(-1, heads, size)


def attend_blocks(
    attention: Any, module: Any, states: tuple[torch.Tensor, torch.Tensor, torch.Tensor], blocks: Blocks, **options: Any
) -> torch.Tensor:
    """Return the attention of all tokens, (1, N, H, d).

    Args:
        attention: the installed function for padded blocks.
        states: queries, keys and values (1, H, N, d).
        options: what the model tells its attention.
    """
    count, prompt, rows, width = blocks.shape
    parts = []
    for one, places, ahead in zip(states, (blocks.queries, blocks.keys, blocks.keys), (0, prompt, prompt), strict=True):
        found, cut = padded(one, places), count * prompt
        parts.append((by_row(found[:cut], count, prompt), by_row(found[cut:], rows, ahead + width)))
    outputs = [
        attention(module, *block, mask, **options)[0].flatten(0, 1)
        for block, mask in zip(zip(*parts, strict=True), blocks.masks(options.get("sliding_window")), strict=True)
    ]
    joined = torch.cat(outputs)
    return F.embedding(blocks.order, joined.flatten(1)).view(1, -1, *joined.shape[1:])


def by_row(states: torch.Tensor, rows: int, width: int) -> torch.Tensor:
    """Return states (rows x width, H, d) as (rows, H, width, d)."""
    return states.view(rows, width, *states.shape[1:]).transpose(1, 2)


def teach_attention() -> None:
    """Let the implementation of attention take blocks; without them it does what it did."""
    installed = ALL_ATTENTION_FUNCTIONS[ATTENTION]
    if getattr(installed, "takes_blocks", False):
        return

    def attention(module: Any, query: Any, key: Any, value: Any, mask: Any, *args: Any, **options: Any) -> Any:
        blocks = options.pop(BLOCKS, None)
        if blocks is None:
            return installed(module, query, key, value, mask, *args, **options)
        return attend_blocks(installed, module, (query, key, value), blocks, **options), None

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
