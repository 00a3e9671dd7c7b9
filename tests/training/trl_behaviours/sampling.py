"""How completions are generated."""

from __future__ import annotations

from typing import Any

from tests.training.trl_behaviours import parts
from tests.training.trl_behaviours.behaviour import Behaviour

EVERY_WORD = {"generation_kwargs": {"suppress_tokens": list(range(2, 31))}}

SMALL_CACHE = {"num_blocks": 8, "max_batch_tokens": 64, "block_size": 32}


def generation(trainer: Any) -> Any:
    """Train; the configuration of generation."""
    trainer.train()
    return trainer.generation_config.to_diff_dict()


def padded_model() -> dict[str, Any]:
    return {"model": str(parts.folder(pad="<|pad|>"))}


def samples_padding(trainer: Any) -> Any:
    """Whether the token for padding is among the completions where every word is forbidden."""
    ids = trainer._generate(["w1"] * 32)[1]
    return any(trainer.processing_class.pad_token_id in one for one in ids)


def scripted(prompts: Any, trainer: Any, **more: Any) -> dict[str, Any]:
    """A rollout whose completions are the prompts' own words, backwards."""
    tokenizer = trainer.processing_class
    ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    answers = [[7 + (token * (place + 3)) % 24 for token in one] + [0] for place, one in enumerate(ids)]
    logprobs = [[-1.0] * len(one) for one in answers]
    return {"prompt_ids": ids, "completion_ids": answers, "logprobs": logprobs, **more}


def with_columns(prompts: Any, trainer: Any) -> dict[str, Any]:
    return scripted(prompts, trainer, hint=[float(index) for index in range(len(prompts))])


def with_mask(prompts: Any, trainer: Any) -> dict[str, Any]:
    output = scripted(prompts, trainer)
    return {**output, "env_mask": [[0] + [1] * (len(one) - 1) for one in output["completion_ids"]]}


def incomplete(prompts: Any, trainer: Any) -> dict[str, Any]:
    return {"prompt_ids": [], "completion_ids": []}


def by_hint(completions: Any, hint: Any, **columns: Any) -> list[float]:
    return list(hint)


def rollout(function: Any) -> Any:
    return lambda: {"rollout_func": function}


SAMPLING = [
    Behaviour("`temperature`", {"temperature": 0.7}, act=generation),
    Behaviour("`top_p`", {"top_p": 0.6}, act=generation),
    Behaviour("`top_k`", {"top_k": 5}, act=generation),
    Behaviour("`min_p`", {"min_p": 0.1}, act=generation),
    Behaviour("`repetition_penalty`", {"repetition_penalty": 1.5}, act=generation),
    Behaviour(
        "all of them",
        {"temperature": 0.9, "top_p": 0.9, "top_k": 10, "min_p": 0.01, "repetition_penalty": 1.1},
        act=generation,
    ),
    Behaviour("`cache_implementation` static", {"cache_implementation": "static"}, act=generation),
    Behaviour("`max_completion_length` 1", {"max_completion_length": 1}, rewards=lambda: parts.early),
    Behaviour(
        "`generation_kwargs` for beams", {"generation_kwargs": {"num_beams": 2, "length_penalty": -0.1}}, act=generation
    ),
    Behaviour(
        "`generation_kwargs` that forbid tokens",
        {"generation_kwargs": {"suppress_tokens": [7, 9]}},
        act=generation,
        quick=True,
    ),
    Behaviour(
        "`generation_kwargs` win over fields",
        {"temperature": 0.5, "generation_kwargs": {"temperature": 1.5}},
        act=generation,
    ),
    Behaviour(
        "the token for padding is never sampled",
        EVERY_WORD,
        model=padded_model,
        act=samples_padding,
        unlike=("found", "training"),
        reason="TRL counts a sampled token for padding as a word",
    ),
    Behaviour("`chat_template_kwargs`", {"chat_template_kwargs": {"quiet": True}}, rows=parts.chats),
    Behaviour("`pad_to_multiple_of`", {"pad_to_multiple_of": 8}, plain=True),
    Behaviour(
        "`use_transformers_continuous_batching`",
        {"use_transformers_continuous_batching": True, "transformers_continuous_batching_config": SMALL_CACHE},
    ),
    Behaviour("`use_vllm` without the package", {"use_vllm": True, "vllm_mode": "colocate"}, raises="ImportError"),
    Behaviour("`rollout_func`", rewards=lambda: parts.early, options=rollout(scripted)),
    Behaviour(
        "`rollout_func` with columns for rewards", rewards=lambda: by_hint, options=rollout(with_columns), quick=True
    ),
    Behaviour(
        "`rollout_func` with a mask of the model's own tokens", rewards=lambda: parts.early, options=rollout(with_mask)
    ),
    Behaviour("`rollout_func` that leaves a key out", options=rollout(incomplete), raises="ValueError"),
]
