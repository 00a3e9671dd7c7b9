"""Decides what counts of the generation settings a model brings: its end tokens do, the recipe replaces its sampling.

Whatever a caller of transformers' `generate` leaves out is filled from them, silently. Must not know data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gspo_lite.models.kinds import tokenizer_of
from gspo_lite.models.templates import turn_end

EVERY_CALL = ("do_sample", "max_length", "max_new_tokens", "use_cache", "cache_implementation")  # sets these itself
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def clear_sampling(model: Any) -> dict[str, Any]:
    """Reset all that a model brings for generation except its tokens; return the settings that were not neutral."""
    from transformers import GenerationConfig

    config, neutral = model.generation_config, vars(GenerationConfig())
    brought = {}
    for name, value in vars(config).items():
        if name in neutral and not name.startswith("_") and name not in (*TOKENS, "transformers_version"):
            if value not in (None, False):
                brought[name] = value
            setattr(config, name, neutral[name])
    return brought


def keep_end_tokens(model: Any, processing: Any, kwargs: Mapping[str, Any]) -> set[int]:
    """Make every token that ends a completion count in training and evaluation, and return them.

    They are those of the model's generation config, where TRL looks for them, the tokenizer's, and the one that ends a
    turn in the chat template, without which a model would never stop.
    """
    tokenizer = tokenizer_of(processing)
    ends = end_tokens(model, tokenizer)
    end = turn_end(processing, kwargs)
    if end is not None and end not in ends:
        ends.add(end)
        model.generation_config.eos_token_id = sorted(ends)
    return ends


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Return every token that ends a completion."""
    configured = model.generation_config.eos_token_id
    ends = configured if isinstance(configured, list) else [configured]
    return {token for token in [*ends, tokenizer.eos_token_id] if token is not None}


def differing(brought: Mapping[str, Any], used: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampling settings that a model brought and a recipe does not use."""
    return {name: value for name, value in brought.items() if name not in EVERY_CALL and used.get(name) != value}
