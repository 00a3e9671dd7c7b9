"""Holds a reward function to its contract at every call: N finite numbers or None, or one clear error.

Rewards are trusted code: what goes wrong in one stops the run and is named with row and prompt. It is never turned
into a reward of 0, which a policy would learn from.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

from gspo_lite.credit import Score, Steps
from gspo_lite.errors import RewardError
from gspo_lite.rewards.text import completion_text

LARGEST = 1e9  # its square still fits float32, in which a group's variance is taken
SHOWN = 80


class GuardedReward:
    """A reward function under contract; call it as TRL calls rewards.

    Attributes:
        columns: data columns it is known to read.
        sha256: of the file it comes from, for a custom reward.
        marks: what it returned for each completion at the last call, spans and steps included.
    """

    def __init__(
        self, function: Callable[..., Any], name: str, weight: float, columns: list[str], sha256: str | None = None
    ):
        self.function = function
        self.__name__ = name
        self.weight = weight
        self.columns = columns
        self.sha256 = sha256
        self.marks: Sequence[Any] = ()

    def __call__(self, completions: Sequence[Any], **inputs: Any) -> list[float | None]:
        try:
            # Copies, so that a reward which changes a completion in place does not change it for the next one.
            result = finished(self.function(completions=copy.deepcopy(completions), **inputs))
        except (Exception, SystemExit) as error:
            if isinstance(error, RewardError):
                raise
            raise self.failed(error, completions, inputs) from error
        return self.checked(result, len(completions))

    def checked(self, result: Any, count: int) -> list[float | None]:
        """The result as N numbers or None; NaN means None, as TRL has it."""
        values = result.tolist() if hasattr(result, "tolist") else result
        if not isinstance(values, list | tuple):
            raise self.broken(f"{described(result)}", count)
        if len(values) != count:
            raise self.broken(f"{len(values)} values", count)
        self.marks = values
        plain = [value.value if isinstance(value, Score | Steps) else value for value in values]
        return [self.number(value, row, count) for row, value in enumerate(plain)]

    def number(self, value: Any, row: int, count: int) -> float | None:
        if hasattr(value, "item") and callable(value.item):
            value = value.item()
        if value is None:
            return None
        if not isinstance(value, int | float):
            raise self.broken(f"{described(value)} for row {row}", count)
        if math.isnan(value):
            return None
        if abs(value) > LARGEST:
            raise self.broken(f"{value:g} for row {row}, which would drown or break every other reward", count)
        return float(value)

    def broken(self, what: str, count: int) -> RewardError:
        return RewardError(f"reward `{self.__name__}` returned {what}; expected {count} numbers or None")

    def failed(self, error: BaseException, completions: Sequence[Any], inputs: dict[str, Any]) -> RewardError:
        """The error with the row that causes it, found by asking for each row alone."""
        what = f"{type(error).__name__}: {error}"
        for row in range(len(completions)):
            alone = {name: [v[row]] if is_rows(v, len(completions)) else v for name, v in inputs.items()}
            try:
                finished(self.function(completions=copy.deepcopy(list(completions[row : row + 1])), **alone))
            except (Exception, SystemExit):
                text = completion_text(completions[row])
                prompt = completion_text((inputs.get("prompts") or [""] * len(completions))[row])
                return RewardError(
                    f"reward `{self.__name__}` failed at row {row}: {what}\n"
                    f"  prompt: {shortened(prompt)}\n  completion: {shortened(text)}",
                    "a reward returns None for what it cannot judge",
                )
        return RewardError(f"reward `{self.__name__}` failed: {what}")


def finished(result: Any) -> Any:
    """The result of a reward, awaited in a loop of its own where the reward is async."""
    if not inspect.isawaitable(result):
        return result
    box: dict[str, Any] = {}

    async def wait() -> Any:
        return await result

    def work() -> None:
        try:
            box["value"] = asyncio.run(wait())
        except BaseException as error:  # handed to the caller's thread
            box["error"] = error

    thread = threading.Thread(target=work)  # a notebook's own loop is running in this one
    thread.start()
    thread.join()
    if "error" in box:
        raise box["error"]
    return box["value"]


def is_rows(value: Any, count: int) -> bool:
    """Whether an input has one entry per completion."""
    return isinstance(value, list | tuple) and len(value) == count


def described(value: Any) -> str:
    """What a function returned, in a user's words."""
    if value is None:
        return "None"
    return f"a {type(value).__name__}"


def shortened(text: str) -> str:
    """The end of a long text, on one line, without control characters."""
    line = "".join(character if character.isprintable() else " " for character in text).strip()
    return line if len(line) <= SHOWN else f"...{line[-SHOWN:]}"
