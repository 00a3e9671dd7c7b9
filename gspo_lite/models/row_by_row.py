"""What can be sampled row by row: rows that share a computed prompt, and that leave the batch when they end.

Must not know how rows are sampled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from transformers import GenerationMixin
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.generation import GenerationMode

MODES = (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)
ELSEWHERE = {"assistant_model", "assistant_tokenizer", "custom_generate", "synced_gpus", "tokenizer"}
INPUTS = {"attention_mask", "position_ids", "past_key_values", "cache", "use_cache", "logits_to_keep"}
STEPS = ("prepare_inputs_for_generation", "_update_model_kwargs_for_generation")
WITH_ROWS = (DynamicLayer, DynamicSlidingWindowLayer)
WARPERS = ("Temperature", "TopP", "TopK", "TopH", "MinP", "Typical", "Epsilon", "Eta")
PROCESSORS = (
    "MinLength", "MinNewTokensLength", "RepetitionPenalty", "NoRepeatNGram", "SequenceBias", "NoBadWords",
    "ForcedBOSToken", "ForcedEOSToken", "InfNanRemove", "SuppressTokens", "SuppressTokensAtBegin",
)  # fmt: skip
BY_ROW = {
    *(f"{name}LogitsWarper" for name in WARPERS),
    *(f"{name}LogitsProcessor" for name in PROCESSORS),
    *("ExponentialDecayLengthPenalty", "LogitNormalization"),
    *(f"{name}Criteria" for name in ("MaxLength", "MaxTime", "EosToken", "StopString")),
}  # transformers' logits processors and stopping criteria that look at each row alone
PER_ROW = "prompt_ignore_length"  # what RepetitionPenalty remembers of each row's prompt, in newer transformers


class Unfit(Exception):
    """What is asked for does not work row by row; the message says why."""


def refuse(reasons: dict[str, Any]) -> None:
    """Raise `Unfit` with the first reason that holds."""
    found = next((reason for reason, holds in reasons.items() if holds), None)
    if found is not None:
        raise Unfit(found)


def unfit_options(generate: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return what may be wrong with a `generate` and its options, and whether it is."""
    odd = sorted(options.keys() & ELSEWHERE)
    written_in = getattr(getattr(generate, "__func__", generate), "__globals__", {}).get("__name__", "")
    return {
        "Unsloth has a fast way of its own": written_in.startswith("unsloth"),
        f"it is given {', '.join(odd)}": odd,
        "there is more than text": any(isinstance(value, Tensor) for value in options.values()),
    }


def unfit_settings(config: Any, rules: list[Any]) -> dict[str, Any]:
    """Return what may be wrong with a generation config, its processors and its criteria, and whether it is."""
    foreign = [type(rule).__name__ for rule in rules if type(rule).__name__ not in BY_ROW]
    return {
        f"its mode is {config.get_generation_mode().value}": config.get_generation_mode() not in MODES,
        f"{', '.join(foreign)} may look beyond a row": foreign,
        "a prompt is computed in chunks": config.prefill_chunk_size is not None,
        "more than tokens is returned": config.return_dict_in_generate,
        "there is no padding token": config._pad_token_tensor is None,
    }


def cache_of(state: dict[str, Any]) -> Any:
    """Return the cache among what a model is called with, which transformers has renamed; None if there is none."""
    return next((value for value in state.values() if isinstance(value, Cache)), None)


def keep_rows(rules: Iterable[Any], rows: Tensor) -> None:
    """Let rules that remember something of each row remember it of these rows (b,), which may repeat."""
    for rule in rules:
        if isinstance(getattr(rule, PER_ROW, None), Tensor):
            setattr(rule, PER_ROW, getattr(rule, PER_ROW)[rows])


def unfit_model(model: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Return what may be wrong with a model and what it is called with, and whether it is."""
    cache = cache_of(state)
    positions, beside = state.get("position_ids"), state.keys() - INPUTS
    own = [name for name in STEPS if getattr(model, name, None) != getattr(GenerationMixin, name).__get__(model)]
    fixed = type(cache) is not DynamicCache or cache.offloading or not cache.layers
    return {
        f"the model takes {', '.join(sorted(beside))}": beside,
        "the model prepares its inputs in its own way": own or (positions is not None and positions.dim() != 2),
        "the rows of its cache cannot be chosen": fixed or any(type(one) not in WITH_ROWS for one in cache.layers),
    }
