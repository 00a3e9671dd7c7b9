"""Reads the calls in a model's message: whatever it wrote, a message that cannot be read is a text without calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

DEEPEST = 32  # levels of lists and objects in a call's arguments; Python's own limit is some hundred


def held_parser(parse: Callable[..., Any], unread: list[str]) -> Callable[..., Any]:
    """Return a tokenizer's `parse_response` that fails with a ValueError only, which TRL takes for a text.

    Args:
        unread: gets the reason for each message that could not be read.
    """

    def parsed(*args: Any, **options: Any) -> Any:
        try:
            message = parse(*args, **options)
            refuse_odd_calls(message.get("tool_calls") or [])
        except Exception as error:  # parsers are no model of care: RecursionError, KeyError, AttributeError
            unread.append(type(error).__name__)
            raise ValueError(f"the message cannot be read: {type(error).__name__}") from error
        return message

    return parsed


def refuse_odd_calls(calls: Any) -> None:
    """Refuse calls that are not of the form that TRL looks for, or that no file could hold."""
    for call in calls:
        if call["type"] != "function" or not isinstance(call["function"]["name"], str):
            raise ValueError("a call has no function")
    if not is_flat(calls, DEEPEST):
        raise ValueError("a call is nested too deeply")
    json.dumps(calls, ensure_ascii=False).encode()  # half a surrogate pair is no text


def is_flat(value: Any, levels: int) -> bool:
    """Return whether lists and objects are nested in no more than so many levels."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(is_flat(one, levels - 1) for one in inner)
