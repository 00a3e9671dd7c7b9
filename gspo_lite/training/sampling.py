"""What a trainer's generation may sample, and where a completion ends, in transformers and in vLLM."""

from __future__ import annotations

from typing import Any

from gspo_lite.models.defaults import end_tokens
from gspo_lite.models.kinds import never_sampled, tokenizer_of
from gspo_lite.system.say import warn


def suppress_placeholders(trainer: Any) -> None:
    """Never sample a token that stands for padding or for an image."""
    tokens = never_sampled(trainer.model, trainer.processing_class)
    if not tokens:
        return
    if trainer.args.use_vllm:  # it cannot suppress tokens; a bias of -100, its lowest, has the same effect
        options = trainer.vllm_generation.generation_kwargs
        given = {int(token): bias for token, bias in (options.get("logit_bias") or {}).items()}  # text in a recipe
        biases = given | dict.fromkeys(tokens, -100.0)
        trainer.vllm_generation.generation_kwargs = {**options, "logit_bias": biases}
    else:
        tokens = sorted({*tokens, *(trainer.generation_kwargs.get("suppress_tokens") or [])})
        trainer.generation_config.suppress_tokens = tokens
        trainer.generation_kwargs["suppress_tokens"] = tokens


def end_at_every_token(trainer: Any) -> None:
    """Let vLLM, which knows only the end tokens in the model's files, stop where TRL sees an end.

    Warns if the model has end tokens at which the installed TRL does not end a completion.
    """
    tokenizer, heeded = tokenizer_of(trainer.processing_class), heeded_ends(trainer)
    unheeded = end_tokens(trainer.model, tokenizer) - heeded
    if unheeded:
        names = ", ".join(f"`{token}`" for token in tokenizer.convert_ids_to_tokens(sorted(unheeded)))
        warn(f"completions do not end at {names}, which the installed TRL does not know", "install trl 1.14")
    options = trainer.vllm_generation.generation_kwargs if trainer.args.use_vllm else {}
    # A stop token ends completions even where `ignore_eos` asks for their full length.
    if trainer.args.use_vllm and not options.get("ignore_eos"):
        ends = sorted({*heeded, *(options.get("stop_token_ids") or [])})
        trainer.vllm_generation.generation_kwargs = {**options, "stop_token_ids": ends}


def heeded_ends(trainer: Any) -> set[int]:
    """Return the tokens at which the installed TRL ends a completion: before 1.14 only the tokenizer's."""
    return set(getattr(trainer, "eos_token_ids", [tokenizer_of(trainer.processing_class).eos_token_id]))
