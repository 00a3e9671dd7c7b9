"""Refuses a tokenizer whose chat template cannot hold a conversation with tools, by TRL's own checks.

TRL renders calls of tools and their results by the model's chat template, and reads the calls that a model writes by a
`response_template`, which it brings for the templates that it knows byte for byte. Must not know recipes.
"""

from __future__ import annotations

import difflib
from types import SimpleNamespace
from typing import Any

from trl import chat_template_utils as templates

from gspo_lite.errors import UsageError
from gspo_lite.models.kinds import tokenizer_of
from gspo_lite.models.templates import template_text

KNOWN = "_chat_template"  # ends the names of TRL's templates
TRAINED = "name a model that was trained to call tools, such as Qwen2.5, Qwen3, Llama 3.1, GLM-4.5 or gpt-oss"


def refuse_without_tool_roles(processing: Any, name: str) -> None:
    """Refuse a tokenizer or processor that TRL could not play conversations with tools with.

    Args:
        name: of the model, for the message.

    Raises:
        UsageError: its template drops calls or results, its calls cannot be read, or it does not keep its beginning
            and TRL has no other in its place.
    """
    if not templates.supports_tool_calling(processing):
        raise UsageError(f"the chat template of `{name}` leaves out calls of tools or their results", TRAINED)
    tokenizer = tokenizer_of(processing)
    readable = any(getattr(tokenizer, one, None) is not None for one in ("response_template", "response_schema"))
    if not readable and not is_read(processing):
        raise UsageError(
            f"the chat template of `{name}` is not one whose calls of tools the installed TRL can read",
            f"set `response_template` in tokenizer_config.json of the model, or {remedy(processing)}",
        )
    if templates.is_chat_template_prefix_preserving(processing):
        return
    try:
        templates.get_training_chat_template(processing)
    except ValueError:
        message = f"the chat template of `{name}` renders earlier messages otherwise once others follow"
        raise UsageError(f"{message}, and TRL has no other in its place", remedy(processing)) from None


def is_read(processing: Any) -> bool:
    """Return whether TRL can read the calls that a model with this template writes."""
    try:
        templates.add_response_schema(SimpleNamespace(chat_template=processing.chat_template))
    except ValueError:
        return False
    return True


def remedy(processing: Any) -> str:
    """Return how to give a model the most similar template that TRL can read and train with."""
    text, known = template_text(processing.chat_template), families()
    matcher = difflib.SequenceMatcher(b=text, autojunk=False)

    def likeness(family: str) -> float:
        matcher.set_seq1(known[family])
        return matcher.quick_ratio()

    nearest = max(known, key=likeness)
    return f"save the model with the chat template of its family as published, of which `{nearest}` is the nearest"


def families() -> dict[str, str]:
    """Return the templates whose calls TRL can read, by the family of models."""
    named = {one.removesuffix(KNOWN): getattr(templates, one) for one in dir(templates) if one.endswith(KNOWN)}
    return {name: text for name, text in named.items() if is_read(SimpleNamespace(chat_template=text))}
