"""Worked examples for the supervised warm-up: a prompt as the model will be asked it, and what it should write.

Owns how a completion is made of a row's columns and what of it is trained. Must not know trainers.
"""

from __future__ import annotations

from typing import Any

from gspo_lite.data.inputs import prompt_text
from gspo_lite.data.sources import Problems, as_dataset, read_problems, without
from gspo_lite.errors import DataError
from gspo_lite.recipe.schema import Recipe, WarmupSettings

IGNORED = -100  # the label of a token that is read and not learned


def load_examples(recipe: Recipe, settings: WarmupSettings, problems: Problems, processing: Any, tokenizer: Any) -> Any:
    """Return `input_ids` and `labels` without held-out problems; only completion and end token have labels.

    Args:
        processing: renders a row as a prompt: the tokenizer, or the processor that holds it.

    Raises:
        DataError: where the source cannot be used, or a row lacks a column that `warmup.completion` names.
    """
    rows = list(problems.train)
    if settings.source is not None:
        rows = read_problems(recipe.data, problems.adapter, settings.source, settings.split, [])
    rows = without(rows, list(problems.held_out), [])[: settings.limit]
    return as_dataset(
        [tokens_of(tokenizer, prompt_text(processing, row), filled(settings.completion, row)) for row in rows]
    )


def filled(completion: str, row: dict[str, Any]) -> str:
    """Return the completion with the row's columns filled in."""
    try:
        text = completion.format_map(row)
    except KeyError as error:
        there = ", ".join(f"`{name}`" for name in row)
        raise DataError(f"`warmup.completion` names the column {error}; there are {there}") from None
    return text


def tokens_of(tokenizer: Any, prompt: str, completion: str) -> dict[str, list[int]]:
    """Return the token ids of one example, and its labels."""
    asked = tokenizer(prompt, add_special_tokens=False).input_ids
    wanted = [*tokenizer(completion, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    return {"input_ids": asked + wanted, "labels": [IGNORED] * len(asked) + wanted}
