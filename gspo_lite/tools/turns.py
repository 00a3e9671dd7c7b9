"""Tells a conversation with tools turn by turn, in the one shape that run folders, preview and chat have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gspo_lite.completion.text import content_text, message_parts
from gspo_lite.completion.thinking import Thinking
from gspo_lite.credit import turn_numbers
from gspo_lite.tools.guarded import ToolCall
from gspo_lite.tools.results import plain

TURNS = "turns"  # the key of a row
LONGEST = 2_000  # characters of a tool's name


def turns_told(
    messages: Iterable[Mapping[str, Any]],
    calls: Sequence[ToolCall],
    thinking: Thinking = "think",
    *,
    advantages: Sequence[float] = (),
    rewards: Mapping[str, Sequence[float | None]] | None = None,
) -> list[dict[str, Any]]:
    """Return one entry for each message of the model, with its calls, and for each result of a tool.

    Args:
        messages: of the model and of tools, in their order.
        calls: what was called, in its order; calls whose results were taken back may follow.
        advantages: of each of the model's turns; none outside training.
        rewards: the values of each of the model's turns, by the name of each reward that valued turns.
    """
    told: list[dict[str, Any]] = []
    ends, turn = (call.end for call in calls), 0
    for message in messages:
        if message.get("role") == "tool":
            result = {"name": named(message), "content": content_text(message.get("content"))}
            told.append({"role": "tool", **result, "end": next(ends, "done")})
            continue
        written = "".join(message_parts(dict(message), thinking))
        told.append(
            {
                "role": "assistant",
                "content": written,
                "calls": [called(call) for call in message.get("tool_calls") or ()],
                "advantage": at(advantages, turn),
                "rewards": {name: at(values, turn) for name, values in (rewards or {}).items()},
            }
        )
        turn += 1
    return told


def at(values: Sequence[float | None], turn: int) -> float | None:
    """Return the value of a turn; None where it has none."""
    return values[turn] if turn < len(values) else None


def called(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return name and arguments of a call as the model asked for it."""
    asked = call.get("function") or call
    return {"name": named(asked), "arguments": asked.get("arguments")}


def named(asked: Mapping[str, Any]) -> str:
    """Return the name of a tool, which a model may have made up."""
    return plain(str(asked.get("name")), LONGEST)


def count_turns(told: Sequence[Mapping[str, Any]]) -> int:
    """Return how many messages of the model a conversation has."""
    return sum(one["role"] == "assistant" for one in told)


def figures_of_tokens(tool_masks: Sequence[Sequence[int]]) -> dict[str, float]:
    """Return the metrics of a rollout's tokens: turns, tokens of the model and of tools, each a mean per episode.

    Args:
        tool_masks: 1 at each token that the model wrote, 0 at one that a tool did, for each episode.
    """
    count, own = max(len(tool_masks), 1), [sum(mask) for mask in tool_masks]
    return {
        "turns/mean": sum(max(turn_numbers([*map(bool, mask)]), default=0) for mask in tool_masks) / count,
        "tokens/own": sum(own) / count,
        "tokens/foreign": sum(map(len, tool_masks)) / count - sum(own) / count,
    }
