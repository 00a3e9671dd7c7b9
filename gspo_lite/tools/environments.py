"""Environments under limits: `reset` ends in time or names what is wrong, and turn rewards find their turns.

An environment is a user's code that the model's calls change. It cannot know which of its calls came from one message,
so what it has earned is counted after every call, and the loop's messages say to which turn that belongs.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from types import MethodType
from typing import Any

from gspo_lite.completion.text import OWN_ROLES
from gspo_lite.errors import RunError, UsageError, did_you_mean
from gspo_lite.rewards.contract.calling import call_each
from gspo_lite.rewards.contract.failures import named, shortened
from gspo_lite.rewards.contract.returned import as_values, described
from gspo_lite.rewards.contract.signature import signature_of
from gspo_lite.tools.definition import RESET, TURN_REWARDS
from gspo_lite.tools.guarded import Limits


class NoTool:
    """A method that TRL does not take for a tool: neither a function of its class nor a method of its instance."""

    def __init__(self, method: Callable[..., Any]):
        self.method = method

    def __get__(self, environment: Any, kind: type) -> Callable[..., Any]:
        return functools.partial(self.method, environment)


class Factory:
    """Makes the environments of one factory under limits; the first one at once, to know what they are."""

    def __init__(self, make: Callable[[], Any], limits: Limits):
        self.make, self.limits = make, limits
        self.waiting = [self.made()]
        self.kind = type(self.waiting[0])
        self.values_turns = hasattr(self.kind, TURN_REWARDS)

    def refuse_missing(self, columns: Sequence[str] | None) -> None:
        """Refuse data without a column that `reset` requires; None if its columns are not known."""
        signature = signature_of(getattr(self.kind, RESET, object))
        for name in signature.required[1:] if signature else ():  # the first is the environment
            if columns is not None and name not in columns:
                there = ", ".join(f"`{column}`" for column in columns)
                message = f"`reset` of the environment `{self.kind.__name__}` reads the column `{name}`"
                hint = "name the parameter after a column, or give it a default"
                raise UsageError(f"{message}; the data has {there}{did_you_mean(name, columns)}", hint)

    def __call__(self) -> Any:
        return self.waiting.pop() if self.waiting else self.made()

    def made(self) -> Any:
        """Return a new environment whose `reset` is under the limits, and whose turn rewards are no tool to TRL."""
        environment = self.make()
        try:
            if callable(getattr(environment, RESET, None)):
                held = functools.partial(reset, environment.reset, limit=self.limits.seconds_for(RESET))
                object.__setattr__(environment, RESET, MethodType(lambda _, **row: held(row), environment))
        except AttributeError:
            name = type(environment).__name__
            raise UsageError(f"environment `{name}` takes no attributes", "leave out its `__slots__`") from None
        hide_turn_rewards(type(environment))
        return environment


def hide_turn_rewards(kind: type) -> None:
    """Keep the turn rewards of a kind of environment from being a tool to TRL."""
    method = inspect.getattr_static(kind, TURN_REWARDS, None)
    if inspect.isfunction(method):
        setattr(kind, TURN_REWARDS, NoTool(method))


def held_factories(factory: Any, limits: Limits) -> dict[Any, Factory]:
    """Return the factories of `environment_factory` under limits by name, None for a single one; none without any."""
    if factory is None:
        return {}
    named_ones = factory if isinstance(factory, Mapping) else {None: factory}
    return {name: Factory(make, limits) for name, make in named_ones.items()}


def reset(method: Callable[..., Any], row: Mapping[str, Any], limit: float | None) -> Any:
    """Reset an environment to a row of the data and return what the model is told first.

    Raises:
        RunError: it failed, did not end in time or returned something else than text or content blocks.
    """
    name = type(getattr(method, "__self__", method)).__name__
    outcome = call_each(method, [row], limit)[0]
    if outcome.late:
        problem, hint = f"did not return within {limit:g} seconds", "generation.tool_timeout sets this limit"
    elif outcome.error is not None:
        problem, hint = f"failed: {named(outcome.error)}", "no episode can begin, so look at the code or at this row"
    elif not is_told(outcome.value):
        problem, hint = f"returned {described(outcome.value)}", "return a text, a list of content blocks or None"
    else:
        return outcome.value
    shown = shortened(", ".join(f"{key}={value!r}" for key, value in row.items()))
    raise RunError(f"`reset` of the environment `{name}` {problem}\n  row: {shown}", hint) from outcome.error


def is_told(value: Any) -> bool:
    """Return whether TRL can put a value behind the prompt, as text that a tokenizer takes."""
    if isinstance(value, str):
        return value.isascii() or value.encode(errors="replace").decode() == value
    return value is None or (isinstance(value, list) and all(isinstance(block, dict) for block in value))


def count_earned(environment: Any, limit: float | None) -> int:
    """Return how many turn rewards an environment has; 0 where it cannot say, which its reward will name."""
    ask = getattr(environment, TURN_REWARDS, None)
    values = None if ask is None else as_values(call_each(ask, [{}], limit)[0].value)
    return len(values or ())


def results_of(completion: Any) -> list[int]:
    """Return how many tool results follow each message of the model in the messages of an episode."""
    if isinstance(completion, str):
        return [0]
    own = [place for place, message in enumerate(completion) if message.get("role") in OWN_ROLES]
    return [after - before - 1 for before, after in pairwise([*own, len(completion)])]


def values_by_turn(
    values: Sequence[float | None], results: Sequence[int], earned: Sequence[int], before: int
) -> list[float | None]:
    """Return the value of each turn of an episode; several that were earned in one turn are added up.

    Values that came call by call belong to the turn of their call, and those that came after the last call to the last
    turn. Values that were there before the first call, or came only after all calls, are one for each turn.

    Args:
        values: all of them, in order; None says nothing.
        results: number of tool results in each turn.
        earned: how many values there were after each call.
        before: how many there were before the first call.

    Raises:
        ValueError: their number is not that of the turns.
    """
    if not values:
        return [None] * len(results)
    if before or not earned or not earned[-1]:
        if len(values) != len(results):
            raise ValueError(f"{len(values)} values for {len(results)} of the model's messages")
        return list(values)
    counts = [*earned, len(values)]
    if counts != sorted(counts):
        raise ValueError(f"{len(values)} values, fewer than the {max(earned)} that there were during the episode")
    ends = [earned[calls - 1] if calls else 0 for calls in accumulate(results)]
    ends[-1] = len(values)
    return [total(values[start:end]) for start, end in pairwise([0, *ends])]


def total(values: Sequence[float | None]) -> float | None:
    """Return the sum of the known values; None without any."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
