"""Prompt styles: what is said around a question, and where the answer then stands. Must not know models or rewards."""

from __future__ import annotations

from typing import Any, Literal

Messages = list[dict[str, Any]]

# style -> (system message, marker of the answer for `rewards.math.grade`)
Marker = Literal["tag", "boxed", "gsm8k"]

STYLES: dict[str, tuple[str | None, Marker]] = {
    "think_answer": (
        "Reason about the question between <think> and </think>. "
        "Then give only the final answer between <answer> and </answer>.",
        "tag",
    ),
    "boxed": ("Reason step by step and put the final answer into \\boxed{}.", "boxed"),
    "plain": (None, "gsm8k"),
}


def messages(prompt: str | Messages, style: str) -> Messages:
    """The chat that asks `prompt` in this style; a chat with a system message of its own is left as it is."""
    chat = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    system = STYLES[style][0]
    if system is None or chat[0]["role"] == "system":
        return chat
    return [{"role": "system", "content": system}, *chat]


def marker(style: str) -> Marker:
    """Where the answer stands in a completion of this style: `tag`, `boxed` or `gsm8k`."""
    return STYLES[style][1]


def as_text(chat: str | Messages) -> str:
    """A chat as plain text, for tokenizers without a chat template and for reading."""
    if isinstance(chat, str):
        return chat
    return "\n\n".join(str(message["content"]) for message in chat) + "\n"
