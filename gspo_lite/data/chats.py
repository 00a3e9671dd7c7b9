"""Reads conversations as data sets write them, into messages with `role` and `content` that a chat template takes.

    {"from": "human", "value": "Why?"}                                      ShareGPT
    {"role": "user", "content": [{"type": "text", "text": "Why?"}]}         content blocks, which may hold images
    {"role": "assistant", "content": None, "tool_calls": [...]}             a call of a tool

Must not know prompt styles or where rows come from.
"""

from __future__ import annotations

import json
from typing import Any

from gspo_lite.data.columns import as_json
from gspo_lite.data.prompts import Messages

NAMES = ("role", "from"), ("content", "value", "text")  # a message's keys for its role and its text
ROLES = {
    "human": "user", "prompter": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant",
    "bard": "assistant", "bot": "assistant", "model": "assistant", "ai": "assistant", "function_call": "assistant",
    "tool_call": "assistant",
    "observation": "tool", "function_response": "tool", "tool_response": "tool",
}  # fmt: skip
IMAGE_KEYS = ("image", "image_url", "url", "path", "bytes")  # of a content block of type `image` or `image_url`


def is_chat(value: Any) -> bool:
    """Return whether a value is a list of messages in any of the known forms."""
    items = rows_of(value)
    return isinstance(items, list) and bool(items) and all(is_message(item) for item in items)


def is_message(value: Any) -> bool:
    return isinstance(value, dict) and any(key in value for key in NAMES[0])


def is_whole(value: Any) -> bool:
    """Return whether a value is a message with a role and something said, which other JSON is not."""
    return is_message(value) and any(key in value for key in (*NAMES[1], "tool_calls"))


def rows_of(value: Any) -> Any:
    """Return messages as a list, also from JSON text or from a mapping of lists, as older data sets store them."""
    if isinstance(value, str):
        items = as_json(value) if value.lstrip().startswith("[{") else None
        return items if isinstance(items, list) and all(map(is_whole, items)) else value
    if not isinstance(value, dict) or not is_message(value) or not all(isinstance(v, list) for v in value.values()):
        return value
    return [dict(zip(value, items, strict=False)) for items in zip(*value.values(), strict=False)]


def read_chat(value: Any) -> tuple[Messages, list[Any]]:
    """Return a conversation as messages with text, and the images in its content blocks.

    Raises:
        ValueError: a message has no role, no content, or content that is neither text nor images.
    """
    messages: Messages = []
    images: list[Any] = []
    for number, item in enumerate(rows_of(value), 1):
        try:
            message, found = read_message(item)
        except ValueError as error:
            raise ValueError(f"message {number} of the prompt {error}") from None
        messages.append(message)
        images += found
    return messages, images


def read_message(item: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Return one message with `role` and `content` as text, and the images of its content blocks."""
    role_key, text_key = (next((key for key in keys if item.get(key) is not None), None) for keys in NAMES)
    role = item.get(role_key) if role_key else None
    if not isinstance(role, str) or not role.strip():
        raise ValueError("has no `role`")
    role = ROLES.get(role.strip().lower(), role.strip().lower())
    others = {k: v for k, v in item.items() if v is not None and k not in (role_key, text_key, "role", "content")}
    content, calls = item.get(text_key) if text_key else None, others.get("tool_calls")
    if content is None and not calls:
        raise ValueError(f"(`{role}`) has no `content`")
    text, images = ("", []) if content is None else read_content(content, role)
    return {"role": role, "content": text, **others}, images


def read_content(content: Any, role: str) -> tuple[str, list[Any]]:
    """Return the text of a message's content, and its images."""
    if isinstance(content, str):
        return content, []
    if not isinstance(content, list):
        raise ValueError(f"(`{role}`) has content that is a {type(content).__name__}, not text")
    texts: list[str] = []
    images: list[Any] = []
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if isinstance(block, str) or (kind == "text" and isinstance(block.get("text"), str)):
            texts.append(block if isinstance(block, str) else block["text"])
        elif kind in ("image", "image_url"):  # without a value it marks the place of one in the column of images
            value = next((block[key] for key in IMAGE_KEYS if block.get(key) is not None), None)
            images += [] if value is None else [value.get("url", value) if isinstance(value, dict) else value]
        else:
            what = f"a block of type `{kind}`" if kind else f"a {type(block).__name__}"
            raise ValueError(f"(`{role}`) has content with {what}; text and images can be read")
    return "\n".join(texts), images


def split_answer(chat: Messages) -> tuple[Messages, str | None]:
    """Return a conversation up to its last assistant turn, and what that turn says if the conversation ends in one.

    A turn without text says its tool calls, as JSON.

    Raises:
        ValueError: nobody asks anything before that turn.
    """
    end = len(chat)
    while end and chat[end - 1]["role"] == "assistant":
        end -= 1
    if not any(message["role"] in ("user", "tool") for message in chat[:end]):
        raise ValueError("the prompt has no message of a user" + (" before the answer" if end < len(chat) else ""))
    if end == len(chat):
        return chat, None
    last, calls = chat[-1]["content"], chat[-1].get("tool_calls")
    return chat[:end], last or (json.dumps(calls) if calls else None)
