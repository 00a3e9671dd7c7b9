"""Samples as transformers' `generate` does, but computes each prompt once and drops rows that have ended.

    prepared     transformers sets up configuration, logits processors, stopping criteria and an empty cache
    prompts      equal neighbours are computed once; the cache is then copied to their rows
    decoding     a token per row and step; ended rows leave the batch and the cache

What does not work row by row, and models whose cache has no rows to choose, are left to `generate`. Must not know
trainers. Letters: B rows, P columns of prompts, T of completions, b rows that are still computed, V tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gspo_lite.models.row_by_row import Unfit, cache_of, keep_rows, refuse, unfit_model, unfit_options, unfit_settings
from gspo_lite.system.say import say

ENDED_SHARE = 1 / 16  # of the computed rows; copying the cache to leave out fewer costs more than it saves


@dataclass(frozen=True)
class Sampled:
    """Completions of a batch.

    Attributes:
        sequences: ids (B, P + T): prompt, completion with its end token, padding.
        logps: float32 or wider (B, T): the log-prob of each sampled token at the temperature, before any filter; 0 in
            padding. None where `generate` sampled.
    """

    sequences: Tensor
    logps: Tensor | None = None


@dataclass(frozen=True)
class Rows:
    """Rows of a batch.

    Attributes:
        places: of these rows in the batch (b,).
        ids: prompts and the tokens so far (b, P + t).
        logps: of the tokens so far (b, t).
        ended: whether a row has ended (b,).
    """

    places: Tensor
    ids: Tensor
    logps: Tensor
    ended: Tensor

    def longer(self, tokens: Tensor, logps: Tensor, pad: Tensor) -> Rows:
        """Return the rows with one more token each (b,); those that have ended get padding."""
        ids = torch.cat([self.ids, torch.where(self.ended, pad, tokens).unsqueeze(1)], dim=1)
        return replace(self, ids=ids, logps=torch.cat([self.logps, (logps * ~self.ended).unsqueeze(1)], dim=1))

    def at(self, indices: Tensor) -> Rows:
        """Return some of the rows."""
        return Rows(self.places[indices], self.ids[indices], self.logps[indices], self.ended[indices])


@contextmanager
def sampling_by_rows(model: Any) -> Iterator[list[Sampled]]:
    """Make `model.generate` sample as this module does; yield the list of what its calls return."""
    calls, generate = list[Sampled](), model.generate
    own = {name: value for name, value in vars(model).items() if name == "generate"}  # else it is its class's

    def generate_by_rows(**options: Any) -> Tensor:
        calls.append(sample(generate, **options))
        return calls[-1].sequences

    vars(model)["generate"] = generate_by_rows
    try:
        yield calls
    finally:
        del vars(model)["generate"]
        vars(model).update(own)


def sample(
    generate: Callable[..., Any], input_ids: Tensor, attention_mask: Tensor, streamer: Any = None, **options: Any
) -> Sampled:
    """Return one completion for each row of `input_ids` (B, P), which is padded on the left.

    Args:
        generate: the model's own method.
        options: for `generate`.
    """
    changed = ((input_ids[1:] != input_ids[:-1]) | (attention_mask[1:] != attention_mask[:-1])).any(1)
    first = torch.cat([changed.new_ones(1), changed])
    decoding = Decoding(first.cumsum(0) - 1, streamer)
    try:
        refuse(unfit_options(generate, options))
        distinct = {"input_ids": input_ids[first], "attention_mask": attention_mask[first]}
        sampled: Sampled = generate(**distinct, custom_generate=decoding, **options)
        return sampled
    except Unfit as unfit:
        tell_once(f"note     completions are sampled by transformers' `generate` alone: {unfit}")
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
    return Sampled(generate(**inputs, streamer=streamer, **options))


@functools.cache
def tell_once(text: str) -> None:
    """Print a message unless it was printed before."""
    say(text)


@dataclass(frozen=True)
class Decoding:
    """A decoding method for `generate`, which prepares its arguments for the distinct prompts.

    Attributes:
        prompts: for each row the index of its prompt (B,).
        streamer: is told the prompts and every step's tokens of the rows still computed.
    """

    prompts: Tensor
    streamer: Any = None

    def __call__(
        self, model: Any, input_ids: Tensor, logits_processor: Any, stopping_criteria: Any, generation_config: Any,
        **state: Any,
    ) -> Sampled:  # fmt: skip
        refuse(unfit_settings(generation_config, [*logits_processor, *stopping_criteria]))
        refuse(unfit_model(model, state) | {"several completions per row": len(input_ids) != int(self.prompts[-1]) + 1})
        pad, done = generation_config._pad_token_tensor, list[Rows]()
        logits, state = advanced(model, input_ids, state)
        rows, logits, state = begun(input_ids, self.prompts), logits[self.prompts], at(state, self.prompts)
        keep_rows(logits_processor, self.prompts)
        self.tell(rows.ids)
        with model._optimize_model_for_decode():
            while True:
                tokens, logps = drawn(logits, logits_processor(rows.ids, logits), generation_config)
                rows = rows.longer(tokens, logps, pad)
                rows = replace(rows, ended=rows.ended | stopping_criteria(rows.ids, None))
                self.tell(rows.ids[:, -1])
                ended = int(rows.ended.sum())
                if ended == len(rows.ended):
                    break
                if ended >= ENDED_SHARE * len(rows.ended):
                    done.append(rows.at(rows.ended))
                    left = (~rows.ended).nonzero().squeeze(1)
                    rows, state = rows.at(left), at(state, left)
                    keep_rows(logits_processor, left)
                logits, state = advanced(model, rows.ids, state, columns=1)
        if self.streamer is not None:
            self.streamer.end()
        return joined([*done, rows], len(self.prompts), pad)

    def tell(self, ids: Tensor) -> None:
        """Pass ids on to the streamer."""
        if self.streamer is not None:
            self.streamer.put(ids.cpu())


def begun(input_ids: Tensor, prompts: Tensor) -> Rows:
    """Return a row for each entry of `prompts` (B,), an index into `input_ids`, without a token yet."""
    places, ids = torch.arange(len(prompts), device=prompts.device), input_ids[prompts]
    return Rows(places, ids, ids.new_empty(len(ids), 0, dtype=torch.float32), torch.zeros_like(prompts).bool())


def advanced(
    model: Any, ids: Tensor, state: dict[str, Any], columns: int | None = None
) -> tuple[Tensor, dict[str, Any]]:
    """Compute the last `columns` of ids, all of them if None.

    Returns:
        Logits of the next token (b, V), float32 or wider, and what the model is called with next.
    """
    inputs = model.prepare_inputs_for_generation(
        ids, next_sequence_length=columns, is_first_iteration=columns is None, **state
    )
    outputs = model(**inputs, return_dict=True)
    logits = outputs.logits[:, -1]
    wide = torch.promote_types(logits.dtype, torch.float32)
    return logits.to(wide), model._update_model_kwargs_for_generation(outputs, state)


def at(state: dict[str, Any], rows: Tensor) -> dict[str, Any]:
    """Return the state of these rows (b,), which may repeat; the cache is changed in place."""
    cache_of(state).batch_select_indices(rows)
    return {name: value[rows] if isinstance(value, Tensor) else value for name, value in state.items()}


def drawn(logits: Tensor, scores: Tensor, config: Any) -> tuple[Tensor, Tensor]:
    """Return tokens (b,) drawn by scores (b, V), and their log-probs (b,) by the logits at the temperature alone."""
    if config.do_sample:
        tokens, logits = by_probability(scores.softmax(-1)), logits / config.temperature
    else:
        tokens = scores.argmax(-1, keepdim=True)
    return tokens.squeeze(1), logits.gather(1, tokens).squeeze(1) - logits.logsumexp(-1)


def by_probability(probabilities: Tensor) -> Tensor:
    """Return a token (b, 1) for each row of probabilities (b, V): where their sum passes a uniform number.

    One random number per row; `torch.multinomial` draws one per token, a tenth of a small model's time. The sums are
    float64, so that rounding favours no token.
    """
    sums = probabilities.double().cumsum(-1)
    if not bool(sums[:, -1].isfinite().all()):
        raise RuntimeError("the model's probabilities of the next token are not finite")
    passed = torch.rand(len(sums), 1, dtype=sums.dtype, device=sums.device) * sums[:, -1:]
    return torch.searchsorted(sums, passed, right=True).clamp(max=sums.shape[1] - 1)


def joined(parts: list[Rows], count: int, pad: Tensor) -> Sampled:
    """Return `count` rows in their places; the last part is the widest."""
    ids = parts[-1].ids.new_full((count, parts[-1].ids.shape[1]), int(pad))
    logps = parts[-1].logps.new_zeros(count, parts[-1].logps.shape[1])
    for part in parts:
        ids[part.places, : part.ids.shape[1]] = part.ids
        logps[part.places, : part.logps.shape[1]] = part.logps
    return Sampled(ids, logps)
