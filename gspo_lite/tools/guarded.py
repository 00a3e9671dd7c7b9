"""Holds the tools of an episode to limits: number and time of calls, length of results; errors are told the model.

A tool is a user's code, but its arguments are a model's. Whatever a call does, the episode goes on: an error or a late
call becomes a message to the model, as in TRL, and is counted.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from gspo_lite.rewards.contract.calling import FAULTS, call_each, copied
from gspo_lite.rewards.contract.failures import named
from gspo_lite.tools.results import plain, result_of
from gspo_lite.tools.shown import CALLS

FAILURES = ("error", "late", "cut", "refused")  # the bad ends of a call
SHOWN = 2_000  # characters of an error that the model is told
Tool = Callable[..., Any]
End = Literal["done", "cut", "error", "late", "refused"]


class ToolError(Exception):
    """What a model is told of a call that failed; TRL passes it on as `{"error": ...}` and counts it."""


@dataclass(frozen=True)
class Limits:
    """Limits of the tools of an episode.

    Attributes:
        calls: of all tools together in one episode.
        timeout: seconds for a call; None means no limit, and that the main thread calls the tool.
        timeouts: the same for tools that have a timeout of their own, by name; `reset`, `get_reward` and
            `get_turn_rewards` are an environment's.
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
    """One call: the tool's name, how it ended, its seconds, and how many turn rewards its environment then had."""

    name: str
    end: End
    seconds: float
    earned: int = 0


@dataclass
class Episode:
    """The calls of one episode so far, one for each that the model asked for, and the limits of the next ones.

    Attributes:
        sees_images: whether the model takes images.
        earned: returns how many turn rewards the episode's environment has.
        earned_before: how many there were before the first call.
    """

    limits: Limits = field(default_factory=Limits)
    calls: list[ToolCall] = field(default_factory=list)
    sees_images: bool = False
    earned: Callable[[], int] = lambda: 0
    earned_before: int = 0

    @property
    def is_late(self) -> bool:
        """Return whether a call was left behind, in a thread that may still change the environment."""
        return any(call.end == "late" for call in self.calls)

    def known(self) -> int:
        """Return how many turn rewards there were when last asked."""
        return self.calls[-1].earned if self.calls else self.earned_before

    def held(self, tools: Mapping[str, Tool]) -> HeldTools:
        """Return the tools under the limits, by name; async ones become sync, run to their end within the timeout."""
        return HeldTools(self, tools)

    def called(self, tool: Tool, name: str, arguments: dict[str, Any]) -> tuple[End, Any]:
        """Call a tool once; return how it ended, and its result or what the model is told."""
        limit = self.limits.seconds_for(name)
        with same_folder():
            # In a thread of its own no exception can be one of this process, such as that of Ctrl-C.
            faults = FAULTS if limit is None else (BaseException,)
            outcome = call_each(lambda: tool(**copied(arguments)), [{}], limit, faults)[0]
        if outcome.late:
            return "late", f"it did not return within {limit:g} seconds"
        if outcome.error is not None:
            return "error", plain(named(outcome.error), SHOWN)
        try:
            told, was_cut = result_of(outcome.value, self.limits.longest, sees_images=self.sees_images)
        except Exception as error:  # `str` runs code of the value's class
            return "error", plain(named(error), SHOWN)
        return ("cut" if was_cut else "done"), told


class HeldTools:
    """The tools of an episode under its limits, by name. Any name is there, so that every call is counted."""

    def __init__(self, episode: Episode, tools: Mapping[str, Tool]):
        self.episode, self.tools = episode, tools

    def __contains__(self, name: str) -> bool:
        return True

    def __getitem__(self, name: str) -> Tool:
        """Return a tool for one call, which is an error until it is made: TRL takes the arguments apart in between."""
        calls, limit = self.episode.calls, self.episode.limits.calls
        shown, is_refused = plain(name, SHOWN), len(calls) >= limit
        calls.append(ToolCall(shown, "refused" if is_refused else "error", 0.0, self.episode.known()))
        if is_refused:
            raise ToolError(f"no more than {limit} calls of tools are allowed")
        if name not in self.tools:
            raise ToolError(f"Tool {shown} not found.")
        return self.one(self.tools[name], name)

    def one(self, tool: Tool, name: str) -> Tool:
        """Return one tool under the limits."""

        @functools.wraps(tool)
        def call(**arguments: Any) -> Any:
            start = time.perf_counter()
            end, value = self.episode.called(tool, name, arguments)
            seconds = time.perf_counter() - start
            earned = self.episode.known() if end == "late" else self.episode.earned()
            self.episode.calls[-1] = ToolCall(name, end, seconds, earned)
            if end in ("done", "cut"):
                return value
            raise ToolError(value)

        return call


@contextmanager
def same_folder() -> Iterator[None]:
    """Return to the working directory after the context; a run writes its files relative to it."""
    folder = os.getcwd()
    try:
        yield
    finally:
        os.chdir(folder)


def figures_of(episodes: list[Episode]) -> dict[str, float]:
    """Return the metrics of a rollout's episodes: calls for each, and the share of calls that ended in each bad way."""
    calls = [call for episode in episodes for call in episode.calls]
    total = max(len(calls), 1)
    return {
        CALLS: len(calls) / max(len(episodes), 1),
        "tools/seconds": sum(call.seconds for call in calls),
        **{f"tools/{end}": sum(call.end == end for call in calls) / total for end in FAILURES},
    }
