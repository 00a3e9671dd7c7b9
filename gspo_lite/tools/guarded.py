"""Holds the tools of an episode to limits: number and time of calls, length of results; errors are told the model.

A tool is a user's code, but its arguments are a model's. Whatever a call does, the episode goes on: an error or a late
call becomes a message to the model, as in TRL, and is counted.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gspo_lite.rewards.contract.calling import call_each
from gspo_lite.system.redaction import redact

CUT = " ... (cut off)"
KEPT = "\n\t"  # control characters that a result may have; others could move the cursor of whoever reads the log
FAILURES = ("error", "late", "cut", "refused")  # the bad ends of a call
Tool = Callable[..., Any]


class ToolError(Exception):
    """What a model is told of a call that failed; TRL passes it on as `{"error": ...}` and counts it."""


@dataclass(frozen=True)
class Limits:
    """Limits of the tools of an episode.

    Attributes:
        calls: of all tools together in one episode.
        timeout: seconds for a call; None means no limit, and that the main thread calls the tool.
        timeouts: the same for tools that have a timeout of their own, by name.
        longest: characters of a result that the model is shown.
    """

    calls: int = 32
    timeout: float | None = 30.0
    timeouts: Mapping[str, float | None] = field(default_factory=dict)
    longest: int = 8_000

    def seconds_for(self, name: str) -> float | None:
        """Return the timeout of a tool."""
        return self.timeouts.get(name, self.timeout)


@dataclass(frozen=True)
class ToolCall:
    """One call: the tool's name, how it ended, and its seconds."""

    name: str
    end: Literal["done", "cut", "error", "late", "refused"]
    seconds: float


@dataclass
class Episode:
    """The calls of one episode so far, and the limits that the next ones are held to."""

    limits: Limits = field(default_factory=Limits)
    calls: list[ToolCall] = field(default_factory=list)

    @property
    def is_late(self) -> bool:
        """Return whether a call was left behind, in a thread that may still change the environment."""
        return any(call.end == "late" for call in self.calls)

    def held(self, tools: Mapping[str, Tool]) -> dict[str, Tool]:
        """Return the tools under the limits, by name; async ones become sync, run to their end within the timeout."""
        return {name: self.one(tool, name) for name, tool in tools.items()}

    def one(self, tool: Tool, name: str) -> Tool:
        """Return one tool under the limits."""

        @functools.wraps(tool)
        def call(**arguments: Any) -> Any:
            start = time.perf_counter()
            end, value = self.called(tool, name, arguments)
            self.calls.append(ToolCall(name, end, time.perf_counter() - start))
            if end in ("done", "cut"):
                return value
            raise ToolError(value)

        return call

    def called(
        self, tool: Tool, name: str, arguments: dict[str, Any]
    ) -> tuple[Literal["done", "cut", "error", "late", "refused"], Any]:
        """Call a tool once; return how it ended, and its result or what the model is told."""
        if len(self.calls) >= self.limits.calls:
            return "refused", f"no more than {self.limits.calls} calls of tools are allowed"
        try:
            inspect.signature(tool).bind(**arguments)
        except TypeError as error:
            return "error", str(error)
        limit = self.limits.seconds_for(name)
        outcome = call_each(tool, [arguments], limit)[0]
        if outcome.late:
            return "late", f"it did not return within {limit:g} seconds"
        if outcome.error is not None:
            return "error", plain(f"{type(outcome.error).__name__}: {outcome.error}", self.limits.longest)
        if isinstance(outcome.value, list):  # content blocks, such as an image and a text
            return "done", outcome.value
        text = plain(str(outcome.value), self.limits.longest)
        return ("cut" if text.endswith(CUT) else "done"), text


def plain(text: str, longest: int) -> str:
    """Return a text without secrets and control characters, cut off at so many characters."""
    shown = text if len(text) <= longest else text[:longest] + CUT
    return redact("".join(one if one.isprintable() or one in KEPT else " " for one in shown))


def figures_of(episodes: list[Episode]) -> dict[str, float]:
    """Return the metrics of a rollout's episodes: calls for each, and the share of calls that ended in each bad way."""
    calls = [call for episode in episodes for call in episode.calls]
    total = max(len(calls), 1)
    return {
        "tools/calls_per_episode": len(calls) / max(len(episodes), 1),
        "tools/seconds": sum(call.seconds for call in calls),
        **{f"tools/{end}": sum(call.end == end for call in calls) / total for end in FAILURES},
    }
