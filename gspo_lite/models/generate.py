"""Generates outside training: one completion per problem, greedy or sampled, by transformers' `generate`.

Owns how evaluation, preview, chat and export get answers from a model. Must not know rewards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gspo_lite.completion.decoding import decoder
from gspo_lite.data.inputs import model_inputs, prompt_text
from gspo_lite.models.dense import dense_for_sampling
from gspo_lite.models.kinds import never_sampled, tokenizer_of
from gspo_lite.recipe.schema import Recipe

SAMPLING_SEED = 0  # of completions at the training temperature, the same before and after training
Answer = tuple[str, list[int]]  # text and token ids of a completion


def answer(
    model: Any,
    processing: Any,
    rows: list[dict[str, Any]],
    recipe: Recipe,
    temperature: float | None,
    progress: Callable[[int], None] | None = None,
) -> list[Answer]:
    """Return text and token ids of one completion per row; greedy if `temperature` is None."""
    import torch

    decode = decoder(tokenizer_of(processing), recipe.data.layout)
    # Prompts of similar length share a batch: less padding, fewer wasted steps.
    order = sorted(range(len(rows)), key=lambda i: len(prompt_text(processing, rows[i])), reverse=True)
    size = recipe.data.eval.batch_size
    answers: dict[int, Answer] = {}
    with ready_to_generate(model), torch.no_grad(), torch.random.fork_rng(), dense_for_sampling(model):
        torch.manual_seed(SAMPLING_SEED)
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            completions = generate(model, processing, [rows[i] for i in batch], recipe, temperature)
            for i, ids in zip(batch, completions, strict=True):
                answers[i] = (decode(ids), ids)
            if progress:
                progress(len(answers))
    return [answers[i] for i in range(len(rows))]


def generate(
    model: Any, processing: Any, rows: list[dict[str, Any]], recipe: Recipe, temperature: float | None, **options: Any
) -> list[list[int]]:
    """Return the token ids of one completion per row, up to the end token; `options` go to the model's `generate`."""
    settings, tokenizer = recipe.generation, tokenizer_of(processing)
    batch = model_inputs(processing, rows).to(model.device)
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if temperature is not None:
        sampling = {"do_sample": True, "temperature": temperature, "top_p": settings.top_p, "top_k": settings.top_k}
        sampling["min_p"] = settings.min_p
    sampling["suppress_tokens"] = never_sampled(model, processing) or None  # as in training
    output = model.generate(
        **batch,
        **sampling,
        max_new_tokens=settings.max_completion_length,
        repetition_penalty=settings.repetition_penalty,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
        **options,
    )
    ends = end_tokens(model, tokenizer)
    return [cut(ids, ends) for ids in output[:, batch["input_ids"].shape[1] :].tolist()]


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Return every token that ends a completion."""
    configured = model.generation_config.eos_token_id
    ends = configured if isinstance(configured, list) else [configured]
    return {token for token in [*ends, tokenizer.eos_token_id] if token is not None}


def cut(ids: list[int], ends: set[int]) -> list[int]:
    """Return the tokens before the first end token."""
    return ids[: next((i for i, token in enumerate(ids) if token in ends), len(ids))]


@contextmanager
def ready_to_generate(model: Any) -> Iterator[None]:
    """Switch to evaluation mode without gradient checkpointing, which would disable the cache.

    Both are restored module by module: enabled anew, checkpointing would lose the options it was enabled with.
    """
    modes = [(module, module.training) for module in model.modules()]
    checkpointing = [(module, vars(module).get("gradient_checkpointing")) for module, _ in modes]
    model.eval()
    for module, value in checkpointing:
        if value:
            module.gradient_checkpointing = False
    try:
        yield
    finally:
        for module, value in checkpointing:
            if value:
                module.gradient_checkpointing = value
        for module, mode in modes:
            module.training = mode
