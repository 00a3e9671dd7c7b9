"""Generates outside training: one completion per problem, greedy or sampled, by `sampler.py`.

Owns how evaluation, preview, chat and export get answers from a model. Must not know rewards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gspo_lite.completion.decoding import Decode, decoder
from gspo_lite.completion.text import Layout
from gspo_lite.data.inputs import model_inputs, prompt_text, thoughts_opened
from gspo_lite.models.defaults import end_tokens
from gspo_lite.models.dense import dense_for_sampling
from gspo_lite.models.kinds import never_sampled, tokenizer_of
from gspo_lite.recipe.schema import Recipe

SAMPLING_SEED = 0  # of completions at the training temperature, the same before and after training


class Answer(NamedTuple):
    """A completion: its text and token ids, those of the model alone where tools wrote others.

    Attributes:
        turns: of a conversation with tools; None for a completion without.
        foreign: number of tokens that tools wrote.
    """

    text: str
    ids: list[int]
    turns: list[dict[str, Any]] | None = None
    foreign: int = 0


@dataclass(frozen=True)
class Played:
    """Answers to rows, and what is known of them already where conversations with tools were played.

    Attributes:
        said: what each reward said about them, by its name, those that environments pay included.
        paid: what an environment's `get_reward` gave for each; None where none pays.
        figures: of the conversations, for eval.json.
    """

    answers: list[Answer]
    said: dict[str, Any] = field(default_factory=dict)
    paid: list[float | None] | None = None
    figures: dict[str, Any] = field(default_factory=dict)


Play = Callable[[list[dict[str, Any]], float | None, Callable[[int], None] | None], Played]


def answer(
    model: Any,
    processing: Any,
    rows: list[dict[str, Any]],
    recipe: Recipe,
    temperature: float | None,
    progress: Callable[[int], None] | None = None,
) -> list[Answer]:
    """Return text and token ids of one completion per row; greedy if `temperature` is None.

    Args:
        progress: called at every token with the rows done; of those in generation, their share of the longest length.
    """
    import torch

    kwargs = recipe.model.chat_template_kwargs
    decode = judged_text(processing, recipe.data.layout, kwargs)
    # Prompts of similar length share a batch: less padding, fewer wasted steps.
    order = sorted(range(len(rows)), key=lambda i: len(prompt_text(processing, rows[i], kwargs)), reverse=True)
    size = recipe.data.eval.batch_size
    answers: dict[int, Answer] = {}
    with ready_to_generate(model), torch.no_grad(), torch.random.fork_rng(), dense_for_sampling(model):
        torch.manual_seed(SAMPLING_SEED)
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            ticker = Ticker(progress, start, len(batch), recipe.generation.max_completion_length) if progress else None
            completions = generate(model, processing, [rows[i] for i in batch], recipe, temperature, streamer=ticker)
            for i, ids in zip(batch, completions, strict=True):
                answers[i] = Answer(decode(ids), ids)
            if progress:
                progress(len(answers))
    return [answers[i] for i in range(len(rows))]


class Ticker:
    """A streamer that reports progress inside a batch of rows, after `done` others, while transformers generates it."""

    def __init__(self, progress: Callable[[int], None], done: int, rows: int, longest: int):
        self.progress, self.done, self.rows, self.longest = progress, done, rows, longest
        self.tokens = -1  # the prompts come first

    def put(self, _: Any) -> None:
        """Count one token of each row."""
        self.tokens += 1
        self.progress(self.done + self.rows * self.tokens // (self.longest + 1))

    def end(self) -> None:
        """Do nothing: the end of a batch is reported with its completions."""


def judged_text(processing: Any, layout: Layout, template_kwargs: Mapping[str, Any]) -> Decode:
    """Return the function from sampled ids to the text that is judged and recorded."""
    return decoder(tokenizer_of(processing), layout, thoughts_opened(processing, layout, template_kwargs))


def generate(
    model: Any, processing: Any, rows: list[dict[str, Any]], recipe: Recipe, temperature: float | None, **options: Any
) -> list[list[int]]:
    """Return the token ids of one completion per row, up to the end token; `options` go to the model's `generate`."""
    from gspo_lite.models.sampler import sample

    settings, tokenizer = recipe.generation, tokenizer_of(processing)
    batch = model_inputs(processing, rows, recipe.model.chat_template_kwargs).to(model.device)
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if temperature is not None:
        sampling = {"do_sample": True, "temperature": temperature, "top_p": settings.top_p, "top_k": settings.top_k}
        sampling["min_p"] = settings.min_p
    sampling["suppress_tokens"] = never_sampled(model, processing) or None  # as in training
    output = sample(
        model.generate,
        **batch,
        **sampling,
        max_new_tokens=settings.max_completion_length,
        repetition_penalty=settings.repetition_penalty,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
        **options,
    ).sequences
    ends = end_tokens(model, tokenizer)
    return [cut(ids, ends) for ids in output[:, batch["input_ids"].shape[1] :].tolist()]


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
