"""Holds a reward function to its contract at every call: N finite numbers or None, or one clear error.

Rewards are trusted code: an error in one stops the run and is reported with row and prompt or, if the recipe says
`on_error: skip`, is counted and leaves that row unjudged. It never becomes a reward of 0, which a policy would learn.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from gspo_lite.completion.marks import Score, Steps
from gspo_lite.completion.text import Layout, chat_text, completion_text, find_answer
from gspo_lite.errors import RewardError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.calling import call_each, rows_of

LARGEST = 1e9  # its square still fits float32, in which the variance of a group is computed
SHOWN = 80  # characters of a text in an error
TIMEOUT: float = RewardSettings.model_fields["timeout"].default
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """One call of a reward for N completions.

    Attributes:
        name: name of the reward.
        values: a number for each completion, None if the reward could not judge it.
        marks: what the reward returned for each completion, with the spans of a `Score` and the steps of a `Steps`.
        error_count: completions left unjudged because of an error.
        seconds: duration of the call.
    """

    name: str
    values: list[float | None]
    marks: list[Any]
    error_count: int
    seconds: float

    @property
    def none_count(self) -> int:
        """Completions that the reward could not judge."""
        return sum(value is None for value in self.values)


@dataclass
class Answers:
    """Values and marks of N completions, and how many of them an error left unjudged."""

    values: list[float | None]
    marks: list[Any]
    errors: int = 0


LISTENERS: ContextVar[tuple[list[Call], ...]] = ContextVar("LISTENERS", default=())


@contextmanager
def calls() -> Iterator[list[Call]]:
    """Collect the calls of guarded rewards in this context; TRL, which makes them, keeps only the values."""
    heard: list[Call] = []
    token = LISTENERS.set((*LISTENERS.get(), heard))
    try:
        yield heard
    finally:
        LISTENERS.reset(token)


class GuardedReward:
    """A reward function under contract, to be called as TRL calls rewards.

    Args:
        function: sync or async, `f(completions, **columns)`.
        weight: factor in the sum of rewards.
        columns: data columns that the function is known to read.
        sha256: hash of the file of a custom reward.
        timeout: seconds for one call; None means no limit.
        on_error: `stop` the run, or `skip` the rows that fail.
        layout: of the completions, in which the reward finds the answer.
        judges: whether 1.0 means that a completion is right.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        weight: float,
        columns: list[str],
        sha256: str | None = None,
        *,
        timeout: float | None = TIMEOUT,
        on_error: Literal["stop", "skip"] = "stop",
        layout: Layout | None = None,
        judges: bool = False,
    ):
        self.function = function
        self.__name__ = name
        self.weight, self.columns, self.sha256 = weight, columns, sha256
        self.timeout = timeout
        self.on_error = on_error
        self.layout = layout
        self.judges = judges
        self.warned = False

    def __call__(self, completions: Sequence[Any], **inputs: Any) -> list[float | None]:
        start = time.perf_counter()
        answers = self.answered({"completions": completions, **inputs}, len(completions))
        call = Call(self.__name__, answers.values, answers.marks, answers.errors, time.perf_counter() - start)
        for heard in LISTENERS.get():
            heard.append(call)
        return call.values

    def extracted(self, text: str) -> str | None:
        """Return the answer that the reward finds in a completion; None if it finds or looks for none."""
        return None if self.layout is None else find_answer(text, *self.layout)

    def answered(self, inputs: dict[str, Any], count: int) -> Answers:
        """Call the function; return its answers, or those left after a timeout or an error."""
        outcome = call_each(self.function, [inputs], self.timeout)[0]
        if outcome.late:
            logger.warning(
                "reward `%s` took longer than its timeout of %g s; its %d completions are left unjudged",
                self.__name__, self.timeout, count,
            )  # fmt: skip
            return Answers([None] * count, [None] * count)
        if isinstance(outcome.error, RewardError):
            raise outcome.error
        return self.after(outcome.error, inputs, count) if outcome.error else self.checked(outcome.value, count)

    def after(self, error: BaseException, inputs: dict[str, Any], count: int) -> Answers:
        """Find the rows that cause an error by calling for each alone; stop the run or leave them unjudged."""
        alone = call_each(self.function, [rows_of(inputs, [row], count) for row in range(count)], self.timeout)
        failing = [row for row, outcome in enumerate(alone) if outcome.error]
        if self.on_error == "stop":
            raise self.failed(error, failing[0] if failing else None, inputs)
        self.warn_once(named(error))
        good = {row: outcome.value for row, outcome in enumerate(alone) if not outcome.error and not outcome.late}
        found = self.of_good_rows(good, inputs, count)
        pairs = dict(zip(good, zip(found.values, found.marks, strict=True), strict=True))
        values, marks = zip(*(pairs.get(row, (None, None)) for row in range(count)), strict=True)
        return Answers(list(values), list(marks), found.errors + max(len(failing), 1))

    def of_good_rows(self, good: dict[int, Any], inputs: dict[str, Any], count: int) -> Answers:
        """Return the answers for rows that did not fail alone, from one call because a reward may compare rows."""
        if not good:
            return Answers([], [])
        together = call_each(self.function, [rows_of(inputs, list(good), count)], self.timeout)[0]
        if together.error or together.late:  # the failure comes and goes, like that of a server
            return self.checked(list(good.values()), len(good), one_each=True)
        return self.checked(together.value, len(good))

    def warn_once(self, what: str) -> None:
        """Warn, the first time only, that rows are left unjudged because of an error."""
        if not self.warned:
            self.warned = True
            logger.warning(
                "reward `%s` failed (%s); on_error is `skip`: such rows are left unjudged and counted in "
                "`rewards/%s/error_count`", self.__name__, what, self.__name__,
            )  # fmt: skip

    def checked(self, result: Any, count: int, *, one_each: bool = False) -> Answers:
        """Return a result as N numbers or None; NaN means None, as in TRL.

        Args:
            one_each: whether `result` holds N results, each from a call with one completion.
        """
        marks = [self.listed(one, 1)[0] for one in result] if one_each else self.listed(result, count)
        answers = Answers([], marks)
        for row, mark in enumerate(marks):
            value, problem = as_number(mark.value if isinstance(mark, Score | Steps) else mark)
            answers.values.append(value)
            if problem is not None:
                what = problem.format(row=row)
                if self.on_error == "stop":
                    raise self.broken(what, count)
                self.warn_once(f"returned {what}")
                answers.errors += 1
        return answers

    def listed(self, result: Any, count: int) -> list[Any]:
        """Return a result as a list of N values; raise RewardError if it is not one."""
        values = result.tolist() if hasattr(result, "tolist") else result
        if not isinstance(values, list | tuple):
            raise self.broken(described(result), count)
        if len(values) != count:
            raise self.broken(f"{len(values)} values", count)
        return list(values)

    def broken(self, what: str, count: int) -> RewardError:
        return RewardError(f"reward `{self.__name__}` returned {what}; expected {count} numbers or None")

    def failed(self, error: BaseException, row: int | None, inputs: dict[str, Any]) -> RewardError:
        """Return the error to raise, with the row that causes it if there is one."""
        what = named(error)
        if row is None:
            return RewardError(f"reward `{self.__name__}` failed: {what}")
        completions = inputs["completions"]
        prompt = chat_text((inputs.get("prompts") or [""] * len(completions))[row])
        return RewardError(
            f"reward `{self.__name__}` failed at row {row}: {what}\n"
            f"  prompt: {shortened(prompt)}\n  completion: {shortened(completion_text(completions[row]))}",
            "a reward should return None if it cannot judge; with `on_error: skip` an error counts as None",
        )


def as_number(value: Any) -> tuple[float | None, str | None]:
    """Return a value as a number (None for NaN), and what is wrong with it as a text with a `{row}` to fill in."""
    value = scalar(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None, None
    if not isinstance(value, int | float):
        return None, f"{described(value)} for row {{row}}"
    if abs(value) <= LARGEST:
        return float(value), None
    size = f"{value:g}" if isinstance(value, float) else f"an integer of {value.bit_length()} bits"
    return None, f"{size} for row {{row}}, which would swamp or break every other reward"


def scalar(value: Any) -> Any:
    """Return a numpy or torch number as a Python one; anything else unchanged."""
    try:
        return value.item() if hasattr(value, "item") else value
    except (TypeError, ValueError, RuntimeError):  # more than one number
        return value


def described(value: Any) -> str:
    """Describe what a function returned, for a message."""
    return "None" if value is None else f"a {type(value).__name__}"


def named(error: BaseException) -> str:
    """Return an error's type and message; a custom exception may fail to give one."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def shortened(text: str) -> str:
    """Return the end of a long text on one line, without control characters."""
    line = "".join(character if character.isprintable() else " " for character in text).strip()
    return line if len(line) <= SHOWN else f"...{line[-SHOWN:]}"
