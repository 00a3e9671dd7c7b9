"""Worked examples for the supervised warm-up: a prompt as in RL, and what to answer. Must not know trainers."""

from __future__ import annotations

from typing import Any

from gspo_lite.data.inputs import prompt_text
from gspo_lite.data.sources import Problems, as_dataset, read_problems, without
from gspo_lite.errors import DataError
from gspo_lite.recipe.schema import Recipe, WarmupSettings

IGNORED = -100  # the label of a token that is not trained on


def load_examples(recipe: Recipe, settings: WarmupSettings, problems: Problems, processing: Any, tokenizer: Any) -> Any:
    """Return `input_ids` and `labels` without held-out problems; only completion and end token have labels.

    Args:
        processing: the tokenizer or processor that renders a row as a prompt.

    Raises:
        DataError: the source cannot be used, or a row does not have a column that `warmup.completion` names.
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
        return completion.format_map(row)
    except KeyError as error:
        there = ", ".join(f"`{name}`" for name in row)
        raise DataError(f"`warmup.completion` names the column {error}; the columns are {there}") from None


def tokens_of(tokenizer: Any, prompt: str, completion: str) -> dict[str, list[int]]:
    """Return the token ids and labels of one example."""
    read = tokenizer(prompt, add_special_tokens=False).input_ids
    learned = [*tokenizer(completion, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    return {"input_ids": read + learned, "labels": [IGNORED] * len(read) + learned}
