"""Worked examples for the supervised warm-up: a prompt as in RL, and what to answer. Must not know trainers."""

from __future__ import annotations

from typing import Any

from gspo_lite.data.columns import filled
from gspo_lite.data.inputs import ToolsOf, prompt_text, thoughts_opened, with_tools
from gspo_lite.data.sources import Problems, read_problems, without
from gspo_lite.data.table import as_dataset
from gspo_lite.errors import DataError
from gspo_lite.models.kinds import tokenizer_of
from gspo_lite.models.templates import turn_end
from gspo_lite.recipe.schema import Recipe, WarmupSettings

IGNORED = -100  # the label of a token that is not trained on


def load_examples(
    recipe: Recipe, settings: WarmupSettings, problems: Problems, processing: Any, tools_of: ToolsOf | None = None
) -> Any:
    """Return `input_ids` and `labels` without held-out problems; only completion and end token have labels.

    Args:
        processing: the tokenizer or processor that renders a row as a prompt.
        tools_of: returns the tools that the template shows with the prompt of a row.

    Raises:
        DataError: the source cannot be used, or a row does not have a column that `warmup.completion` names.
    """
    rows = rows_of(recipe, settings, problems)
    rows = without(rows, list(problems.held_out), [], problems.identity)[: settings.limit]
    tokenizer, kwargs = tokenizer_of(processing), recipe.model.chat_template_kwargs
    end = turn_end(processing, kwargs)
    end = tokenizer.eos_token_id if end is None else end
    tag = thoughts_opened(processing, recipe.data.layout, kwargs).strip()
    prompts = [prompt_text(processing, row, with_tools(kwargs, row, tools_of)) for row in rows]
    texts = [(prompt, completion_of(settings.completion, row)) for prompt, row in zip(prompts, rows, strict=True)]
    return as_dataset([tokens_of(tokenizer, prompt, continued(completion, tag), end) for prompt, completion in texts])


def rows_of(recipe: Recipe, settings: WarmupSettings, problems: Problems, most: int | None = None) -> list[Any]:
    """Return the problems of the warm-up, or the first `most` of them."""
    if settings.source is None:
        return list(problems.train.select(range(most)) if most else problems.train)
    source, split = settings.source, settings.split
    return read_problems(recipe.data, problems.adapter, source, split, [], most=most, identity=problems.identity)


def check_examples(recipe: Recipe, problems: Problems) -> None:
    """Raise DataError if the warm-up's completion names a column that its first problem does not have."""
    if recipe.warmup is not None:
        completion_of(recipe.warmup.completion, rows_of(recipe, recipe.warmup, problems, most=1)[0])


def completion_of(template: str, row: dict[str, Any]) -> str:
    """Return the completion to learn for a row; raise DataError if it has no such column."""
    try:
        return filled(template, row)
    except ValueError as error:
        raise DataError(f"`warmup.completion`: {error}") from None


def continued(completion: str, tag: str) -> str:
    """Return a completion without the tag of its thoughts, if the prompt ends with it."""
    return completion.removeprefix(tag).lstrip() if tag and completion.startswith(tag) else completion


def tokens_of(tokenizer: Any, prompt: str, completion: str, end: int) -> dict[str, list[int]]:
    """Return the token ids and labels of one example; `end` is the token that ends it."""
    read = tokenizer(prompt, add_special_tokens=False).input_ids
    learned = [*tokenizer(completion, add_special_tokens=False).input_ids, end]
    return {"input_ids": read + learned, "labels": [IGNORED] * len(read) + learned}
