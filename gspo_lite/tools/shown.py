"""Writes an episode for people, message by message, as the terminal and the report show it.

An episode is the list `turns` of a row: messages of the model with their calls, and results of tools. All of it is
untrusted text: whoever shows it must escape it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

END_WORDS = {  # how a call ended; `done` needs no word
    "error": "failed", "late": "ran out of time", "refused": "refused: too many calls", "cut": "result cut off",
}  # fmt: skip
CALLS = "tools/calls_per_episode"  # in metrics.jsonl
Message = Mapping[str, Any]


def call_text(call: Mapping[str, Any]) -> str:
    """Return a call as Python would write it: `look_up(name='Ada', year=1815)`."""
    arguments = call.get("arguments") or {}
    if not isinstance(arguments, Mapping):  # a model may write anything
        return f"{call['name']}({arguments})"
    given = (f"{name}={value!r}" for name, value in arguments.items())
    return f"{call['name']}({', '.join(given)})"


def lines_of(turns: Sequence[Message], longest: int) -> Iterator[str]:
    """Yield the lines of an episode: what the model wrote, `-> ` its calls, `<- ` their results.

    Args:
        longest: characters of a result that are shown.
    """
    for message in turns:
        if message["role"] == "tool":
            yield result_line(message, longest)
            continue
        if text := str(message["content"] or "").strip():
            yield text
        yield from (f"-> {call_text(call)}" for call in message.get("calls", ()))


def result_line(message: Message, longest: int) -> str:
    """Return the result of a call on a line of its own, with a word on how it ended if it was not well."""
    text, told = str(message["content"]), END_WORDS.get(message.get("end", ""))
    shown = text if len(text) <= longest else f"{text[:longest]} ... ({len(text) - longest} characters more)"
    return f"<- {message['name']}{f' ({told})' if told else ''}: {shown}"
