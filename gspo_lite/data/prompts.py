"""Prompt styles: the system message that goes with a question. Must not know models or rewards."""

from __future__ import annotations

from typing import Any

Messages = list[dict[str, Any]]

# The system message of each style, which asks for the answer at `DataSettings.marker`.
STYLES: dict[str, str | None] = {
    "think_answer": "Reason about the question between <think> and </think>. "
    "Then give only the final answer between <answer> and </answer>.",
    "boxed": "Reason step by step and put the final answer into \\boxed{}.",
    "plain": None,
}


def messages(prompt: str | Messages, style: str) -> Messages:
    """Return a prompt as a chat in this style; a chat that has a system message is not changed."""
    chat = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    system = STYLES[style]
    return chat if system is None or chat[0]["role"] == "system" else [{"role": "system", "content": system}, *chat]


def as_text(chat: str | Messages) -> str:
    """Return a chat as plain text, for tokenizers without a chat template and for reading."""
    if isinstance(chat, str):
        return chat
    return "\n\n".join(str(message["content"]) for message in chat) + "\n"
