"""Leaves out problems whose prompt is longer than the recipe allows, counted in the model's tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gspo_lite.data.inputs import ToolsOf, prompt_length, with_tools
from gspo_lite.data.sources import Problems
from gspo_lite.errors import DataError


def drop_long_prompts(
    problems: Problems,
    processing: Any,
    max_prompt_length: int,
    template_kwargs: Mapping[str, Any],
    tools_of: ToolsOf | None = None,
) -> Problems:
    """Return the problems without those that are too long, with a note on how many were left out.

    Args:
        processing: the model's tokenizer, or the processor of a vision-language model, whose image tokens count too.
        template_kwargs: variables of its chat template.
        tools_of: returns the tools that the template shows with the prompt of a row.

    Raises:
        DataError: no problem is left to train on or to measure.
    """
    kept, notes = {}, list(problems.notes)
    for part, name in (("train", "to train on"), ("held_out", "held out")):
        rows = getattr(problems, part)
        lengths = [prompt_length(processing, row, with_tools(template_kwargs, row, tools_of)) for row in rows]
        fitting = [i for i, length in enumerate(lengths) if length <= max_prompt_length]
        if not fitting:
            raise DataError(
                f"no problem {name} has a prompt of up to {max_prompt_length} tokens; the shortest has {min(lengths)}",
                "raise generation.max_prompt_length",
            )
        if len(fitting) < len(rows):
            notes.append(f"{len(rows) - len(fitting)} problems {name} left out: over {max_prompt_length} prompt tokens")
        kept[part] = rows.select(fitting)
    return replace(problems, **kept, notes=notes)
