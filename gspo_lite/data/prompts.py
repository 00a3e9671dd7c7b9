"""Prompt styles: the system message that goes with a question. Must not know models or rewards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gspo_lite.completion.text import Layout
from gspo_lite.recipe.data_settings import DataSettings

Messages = list[dict[str, Any]]

CHANNELS = ("gpt_oss", "gemma")  # thinking that a model was trained to do and cannot be asked for in words
ANSWER = "only the final answer between {answer[0]} and {answer[1]}."
# The system message of each style, with the tags of the layout; it asks for the answer at `STYLE_MARKERS`.
STYLES: dict[str, str | None] = {
    "think_answer": "Reason about the question between {open} and {close}. Then give " + ANSWER,
    "boxed": "Reason step by step and put the final answer into \\boxed{{}}.",
    "plain": None,
}


def system_message(data: DataSettings) -> str | None:
    """Return the system message of a recipe: its own, else that of the prompt style; None without one."""
    if data.system_prompt != "auto":
        return data.system_prompt or None
    return style_message(data.prompt, data.layout)


def style_message(style: str, layout: Layout) -> str | None:
    """Return the system message of a prompt style, which asks for the tags of the layout."""
    text = STYLES[style]
    if text is None:
        return None
    if style == "think_answer" and layout.thinking in CHANNELS:
        text = "Give " + ANSWER
    return text.format(open=layout.thoughts.open, close=layout.thoughts.close, answer=layout.answer_tags)


def messages(prompt: str | Messages, system: str | None) -> Messages:
    """Return a prompt as a chat with this system message; a chat that has one is not changed."""
    chat = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    return chat if system is None or chat[0]["role"] == "system" else [{"role": "system", "content": system}, *chat]


def shared_system(prompts: Iterable[str | Messages]) -> str | None:
    """Return the system message that every prompt begins with, "" if none has one; None if they differ."""
    found: set[str] = set()
    for prompt in prompts:
        first = None if isinstance(prompt, str) else prompt[0]
        found.add(str(first["content"]) if first is not None and first["role"] == "system" else "")
        if len(found) > 1:
            return None
    return next(iter(found), None)


def as_text(chat: str | Messages) -> str:
    """Return a chat as plain text, for tokenizers without a chat template and for reading."""
    if isinstance(chat, str):
        return chat
    return "\n\n".join(str(message["content"]) for message in chat) + "\n"
