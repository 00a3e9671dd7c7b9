"""Asks the same held-out prompts of the trained adapter and of what was written from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gspo_lite.evaluation import asked
from gspo_lite.export import llama_cpp, llama_server, merge
from gspo_lite.export.forms import GGUF_BASE, GGUF_FILE, GGUF_FORMS, GGUF_LORA, READERS, Options
from gspo_lite.load_parts import player_outside
from gspo_lite.models.defaults import end_tokens
from gspo_lite.models.generate import Played
from gspo_lite.models.kinds import tokenizer_of
from gspo_lite.models.load import LoadedModel, load_for_evaluation
from gspo_lite.recipe.schema import Recipe


@dataclass(frozen=True)
class Reference:
    """What the trained adapter answered, and how it was asked.

    Attributes:
        processing: the tokenizer, or the processor of a vision-language model.
        generation: transformers' generation config, with the end tokens and no sampling.
        ends: tokens that end a completion.
    """

    played: Played
    processing: Any
    generation: Any
    ends: set[int]


def ask_adapter(recipe: Recipe, adapter: Path, rows: list[dict[str, Any]], vision: bool) -> Reference:
    """Return the greedy answers of a trained adapter; its memory is free again."""
    loaded = load_for_evaluation(merge.as_trained(recipe.model, adapter), adapter, vision)
    ends = end_tokens(loaded.model, tokenizer_of(loaded.processing_class))
    return Reference(ask(loaded, rows, recipe), loaded.processing_class, loaded.model.generation_config, ends)


def ask_written(
    form: str,
    folder: Path,
    reference: Reference,
    rows: list[dict[str, Any]],
    recipe: Recipe,
    options: Options,
    vision: bool,
) -> tuple[Played, str]:
    """Return the greedy answers of an export, and what read it: `llama.cpp` or `transformers`.

    A GGUF file is asked through llama.cpp's server where that is at hand and prompts are single texts, else through
    transformers, which dequantizes it.
    """
    if form in GGUF_FORMS and llama_cpp.at_hand(llama_cpp.SERVER) and not (vision or recipe.plays):
        apart = form == "gguf-lora"
        model, lora = folder / (GGUF_BASE if apart else GGUF_FILE), folder / GGUF_LORA if apart else None
        found = llama_server.answers(model, lora, reference.processing, reference.ends, rows, recipe)
        return Played(found), "llama.cpp"
    return ask(READERS[form](recipe, folder, options, vision), rows, recipe), "transformers"


def ask(loaded: LoadedModel, rows: list[dict[str, Any]], recipe: Recipe) -> Played:
    """Return a model's greedy completions to these prompts, or its conversations where the recipe has tools."""
    play = player_outside(recipe, loaded)
    return play(rows, None) if play else asked(loaded.model, loaded.processing_class, recipe, rows, None)
