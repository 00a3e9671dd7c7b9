"""Leaves out problems whose prompt is longer than the recipe allows, counted in the model's own tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gspo_lite.data.prompts import as_text
from gspo_lite.data.sources import Problems
from gspo_lite.errors import DataError


def drop_long_prompts(problems: Problems, tokenizer: Any, max_prompt_length: int) -> Problems:
    """The same problems without those that are too long; how many went is in the notes.

    Raises:
        DataError: when none are left to train on or to measure.
    """
    kept, notes = {}, list(problems.notes)
    for part, name in (("train", "to train on"), ("held_out", "held out")):
        rows = getattr(problems, part)
        lengths = [prompt_length(tokenizer, prompt) for prompt in rows["prompt"]]
        fitting = [i for i, length in enumerate(lengths) if length <= max_prompt_length]
        if not fitting:
            raise DataError(
                f"no problem {name} has a prompt of up to {max_prompt_length} tokens, the shortest has {min(lengths)}",
                "raise generation.max_prompt_length",
            )
        if len(fitting) < len(rows):
            notes.append(f"{len(rows) - len(fitting)} problems {name} left out: over {max_prompt_length} prompt tokens")
        kept[part] = rows.select(fitting)
    return replace(problems, **kept, notes=notes)


def prompt_length(tokenizer: Any, prompt: Any) -> int:
    """Tokens the model sees of this prompt."""
    return len(tokenizer(prompt_text(tokenizer, prompt), add_special_tokens=False).input_ids)


def prompt_text(tokenizer: Any, prompt: Any) -> str:
    """The text the model sees: the chat template's where there is one."""
    if tokenizer.chat_template is None:
        return as_text(prompt)
    return tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
