"""Holds a reward function to its contract at every call: N finite numbers or None, or one clear error.

Rewards are trusted code: what goes wrong in one stops the run and is named with row and prompt, or, where the recipe
says `on_error: skip`, leaves that row unjudged and is counted. It is never turned into a reward of 0, which a policy
would learn from.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gspo_lite.completion.marks import Score, Steps
from gspo_lite.completion.text import PLACES, completion_text, find_answer
from gspo_lite.errors import RewardError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.calling import call_each, rows_of

LARGEST = 1e9  # its square still fits float32, in which a group's variance is taken
SHOWN = 80
TIMEOUT: float = RewardSettings.model_fields["timeout"].default
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CallFigures:
    """One call of a reward: mean and sample deviation of what it judged, rows it did not, rows that failed, seconds."""

    mean: float | None
    std: float | None
    none_count: int
    error_count: int
    seconds: float


class GuardedReward:
    """A reward function under contract; call it as TRL calls rewards.

    Args:
        function: sync or async, `f(completions, **columns)`.
        weight: its factor in the sum of rewards.
        columns: data columns it is known to read.
        sha256: of the file it comes from, for a custom reward.
        timeout: seconds for one call; None is no limit.
        on_error: `stop` the run, or `skip` the rows that fail.
        marker: where the answer it speaks about stands, as in `find_answer`; anything else counts as None.

    Attributes:
        marks: what it returned for each completion at the last call, spans and steps included.
        figures: of the last call.
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
        marker: str | None = None,
    ):
        self.function = function
        self.__name__ = name
        self.weight = weight
        self.columns = columns
        self.sha256 = sha256
        self.timeout = timeout
        self.on_error = on_error
        self.marker = marker if isinstance(marker, str) and marker in PLACES else None
        self.marks: Sequence[Any] = ()
        self.figures = CallFigures(None, None, 0, 0, 0.0)
        self.errors = 0  # of the call that runs
        self.warned = False

    def __call__(self, completions: Sequence[Any], **inputs: Any) -> list[float | None]:
        start, self.errors = time.perf_counter(), 0
        values = self.judged({"completions": completions, **inputs}, len(completions))
        known = [value for value in values if value is not None]
        self.figures = CallFigures(
            statistics.fmean(known) if known else None,
            statistics.stdev(known) if len(known) > 1 else None,
            len(values) - len(known),
            self.errors,
            time.perf_counter() - start,
        )
        return values

    def extracted(self, text: str) -> str | None:
        """The answer it finds in a completion; None where it finds none or looks for none."""
        return None if self.marker is None else find_answer(text, self.marker)

    def judged(self, inputs: dict[str, Any], count: int) -> list[float | None]:
        """The values of one call, whatever comes of it."""
        outcome = call_each(self.function, [inputs], self.timeout)[0]
        if outcome.late:
            logger.warning(
                "reward `%s` took longer than its timeout of %g s; its %d completions are left unjudged",
                self.__name__, self.timeout, count,
            )  # fmt: skip
            self.marks = [None] * count
            return [None] * count
        if isinstance(outcome.error, RewardError):
            raise outcome.error
        return self.after(outcome.error, inputs, count) if outcome.error else self.checked(outcome.value, count)

    def after(self, error: BaseException, inputs: dict[str, Any], count: int) -> list[float | None]:
        """What to do about an error: find its rows by asking for each alone, then stop or leave them unjudged."""
        alone = call_each(self.function, [rows_of(inputs, [row], count) for row in range(count)], self.timeout)
        failing = [row for row, outcome in enumerate(alone) if outcome.error]
        if self.on_error == "stop":
            raise self.failed(error, failing[0] if failing else None, inputs)
        self.skipped(named(error), max(len(failing), 1))
        good = [row for row, outcome in enumerate(alone) if not outcome.error and not outcome.late]
        values, marks = self.of_good_rows(good, [alone[row].value for row in good], inputs, count)
        self.marks = [marks.get(row) for row in range(count)]
        return [values.get(row) for row in range(count)]

    def of_good_rows(
        self, rows: list[int], alone: list[Any], inputs: dict[str, Any], count: int
    ) -> tuple[dict[int, float | None], dict[int, Any]]:
        """Values and marks of the rows that did not fail, by row; a reward may compare those of one call."""
        if not rows:
            return {}, {}
        together = call_each(self.function, [rows_of(inputs, rows, count)], self.timeout)[0]
        if together.error or together.late:  # what failed comes and goes, as with a server
            results = [(self.checked(value, 1)[0], self.marks[0]) for value in alone]
        else:
            results = list(zip(self.checked(together.value, len(rows)), self.marks, strict=True))
        values = {row: value for row, (value, _) in zip(rows, results, strict=True)}
        return values, {row: mark for row, (_, mark) in zip(rows, results, strict=True)}

    def skipped(self, what: str, rows: int) -> None:
        """Count rows that are left unjudged because of an error, and say so the first time."""
        self.errors += rows
        if not self.warned:
            self.warned = True
            logger.warning(
                "reward `%s` failed (%s); on_error is `skip`: such rows are left unjudged and counted in "
                "`rewards/%s/error_count`", self.__name__, what, self.__name__,
            )  # fmt: skip

    def checked(self, result: Any, count: int) -> list[float | None]:
        """The result as N numbers or None; NaN means None, as TRL has it."""
        values = result.tolist() if hasattr(result, "tolist") else result
        if not isinstance(values, list | tuple):
            raise self.broken(described(result), count)
        if len(values) != count:
            raise self.broken(f"{len(values)} values", count)
        self.marks = values
        plain = [value.value if isinstance(value, Score | Steps) else value for value in values]
        return [self.number(value, row, count) for row, value in enumerate(plain)]

    def number(self, value: Any, row: int, count: int) -> float | None:
        """One value as a number; None where it is None or NaN."""
        value = scalar(value)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if not isinstance(value, int | float):
            what = f"{described(value)} for row {row}"
        elif abs(value) <= LARGEST:
            return float(value)
        else:
            size = f"{value:g}" if isinstance(value, float) else f"an integer of {value.bit_length()} bits"
            what = f"{size} for row {row}, which would drown or break every other reward"
        if self.on_error == "stop":
            raise self.broken(what, count)
        self.skipped(f"returned {what}", 1)
        return None

    def broken(self, what: str, count: int) -> RewardError:
        return RewardError(f"reward `{self.__name__}` returned {what}; expected {count} numbers or None")

    def failed(self, error: BaseException, row: int | None, inputs: dict[str, Any]) -> RewardError:
        """The error with the row that causes it, if one does."""
        what = named(error)
        if row is None:
            return RewardError(f"reward `{self.__name__}` failed: {what}")
        completions = inputs["completions"]
        prompt = completion_text((inputs.get("prompts") or [""] * len(completions))[row])
        return RewardError(
            f"reward `{self.__name__}` failed at row {row}: {what}\n"
            f"  prompt: {shortened(prompt)}\n  completion: {shortened(completion_text(completions[row]))}",
            "a reward returns None for what it cannot judge; `on_error: skip` does that for it",
        )


def scalar(value: Any) -> Any:
    """A number of numpy or torch as Python's own; anything else as it is."""
    try:
        return value.item() if hasattr(value, "item") else value
    except (TypeError, ValueError, RuntimeError):  # more than one number
        return value


def described(value: Any) -> str:
    """What a function returned, in a user's words."""
    return "None" if value is None else f"a {type(value).__name__}"


def named(error: BaseException) -> str:
    """An error's type and message; a reward's own exception may fail to give one."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def shortened(text: str) -> str:
    """The end of a long text, on one line, without control characters."""
    line = "".join(character if character.isprintable() else " " for character in text).strip()
    return line if len(line) <= SHOWN else f"...{line[-SHOWN:]}"
