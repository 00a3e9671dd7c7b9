"""Holds a reward function to its contract at every call: N finite numbers or None, or one clear error.

Rewards are trusted code: an error in one stops the run and is reported with row and prompt or, if the recipe says
`on_error: skip`, is counted and leaves that row unjudged. It never becomes a reward of 0, which a policy would learn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gspo_lite.completion.marks import Mark, Turns
from gspo_lite.completion.text import Layout, find_answer
from gspo_lite.errors import RewardError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.calling import Outcome, call_each, rows_of
from gspo_lite.rewards.contract.failures import failure, named
from gspo_lite.rewards.contract.logged import Columns, Logged, TrainingState
from gspo_lite.rewards.contract.returned import as_number, as_values, described, remedy
from gspo_lite.rewards.contract.signature import signature_of

TIMEOUT: float = RewardSettings.model_fields["timeout"].default
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """One call of a reward for N completions.

    Attributes:
        name: name of the reward.
        values: a number for each completion, None if the reward could not judge it.
        marks: what the reward returned for each completion, which may be a `Score`, `Steps` or `Turns`.
        error_count: completions left unjudged because of an error.
        seconds: duration of the call.
        extra: the columns that the reward logged with `log_extra`, a plain value for each completion.
        metrics: what it logged with `log_metric`.
    """

    name: str
    values: list[float | None]
    marks: list[Any]
    error_count: int
    seconds: float
    extra: Columns = field(default_factory=dict)
    metrics: dict[str, list[float]] = field(default_factory=dict)

    @property
    def none_count(self) -> int:
        """Completions that the reward could not judge."""
        return sum(value is None for value in self.values)

    def extra_of(self, row: int) -> dict[str, Any]:
        """Return what the reward logged about one completion, by column."""
        return {name: values[row] for name, values in self.extra.items()}


@dataclass
class Answers:
    """Values and marks of N completions, how many of them an error left unjudged, and what was logged."""

    values: list[float | None]
    marks: list[Any]
    errors: int = 0
    logged: Logged = field(default_factory=Logged)


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
        self.trainer_state: Any = TrainingState()  # in training the trainer's, which outlives it
        self.warned: set[str] = set()

    def __call__(self, completions: Sequence[Any], **inputs: Any) -> list[float | None]:
        start, count = time.perf_counter(), len(completions)
        self.trainer_state = inputs.setdefault("trainer_state", self.trainer_state)
        answers = self.answered({"completions": completions, **inputs}, count)
        logged = self.fitting(answers.logged, count)
        logged.pass_on(inputs)
        seconds, shown = time.perf_counter() - start, logged.shown()
        call = Call(self.__name__, answers.values, answers.marks, answers.errors, seconds, shown, logged.metrics)
        for heard in LISTENERS.get():
            heard.append(call)
        return call.values

    def reads(self, name: str) -> bool:
        """Return whether the function takes an argument of this name, as far as its signature tells."""
        inputs = getattr(self.function, "inputs", None)  # made by `@reward`
        if inputs is not None:
            return name in inputs
        signature = signature_of(self.function)
        return signature is None or signature.any_name or name in signature.names

    def extracted(self, text: str) -> str | None:
        """Return the answer that the reward finds in a completion; None if it finds or looks for none."""
        return None if self.layout is None else find_answer(text, *self.layout)

    def answered(self, inputs: dict[str, Any], count: int) -> Answers:
        """Call the function; return its answers, or those left after a timeout or an error."""
        outcome, logged = self.called(inputs)
        if outcome.late:
            logger.warning(
                "reward `%s` took longer than its timeout of %g s; its %d completions are left unjudged",
                self.__name__, self.timeout, count,
            )  # fmt: skip
            return Answers([None] * count, [None] * count)
        if isinstance(outcome.error, RewardError):
            raise outcome.error
        if outcome.error:
            return self.after(outcome.error, inputs, count)
        return replace(self.checked(outcome.value, count), logged=logged)

    def called(self, inputs: dict[str, Any]) -> tuple[Outcome, Logged]:
        """Call the function once; return the outcome, and what it logged."""
        logged = Logged()
        return call_each(self.function, [{**inputs, **logged.arguments()}], self.timeout)[0], logged

    def after(self, error: BaseException, inputs: dict[str, Any], count: int) -> Answers:
        """Find the rows that cause an error by calling for each alone; stop the run or leave them unjudged."""
        unheard = Logged().arguments()
        rows = [{**rows_of(inputs, [row], count), **unheard} for row in range(count)]
        alone = call_each(self.function, rows, self.timeout)
        failing = [row for row, outcome in enumerate(alone) if outcome.error]
        if self.on_error == "stop":
            raise failure(self.__name__, self.function, error, failing, inputs) from error
        self.warn_of_skipped(named(error))
        good = {row: outcome.value for row, outcome in enumerate(alone) if not outcome.error and not outcome.late}
        found = self.of_good_rows(good, inputs, count)
        pairs = dict(zip(good, zip(found.values, found.marks, strict=True), strict=True))
        values, marks = zip(*(pairs.get(row, (None, None)) for row in range(count)), strict=True)
        logged = self.fitting(found.logged, len(good)).spread(list(good), count)
        return Answers(list(values), list(marks), found.errors + max(len(failing), 1), logged)

    def of_good_rows(self, good: dict[int, Any], inputs: dict[str, Any], count: int) -> Answers:
        """Return the answers for rows that did not fail alone, from one call because a reward may compare rows."""
        if not good:
            return Answers([], [])
        together, logged = self.called(rows_of(inputs, list(good), count))
        if together.error or together.late:  # the failure comes and goes, like that of a server
            return self.checked(list(good.values()), len(good), one_each=True)
        return replace(self.checked(together.value, len(good)), logged=logged)

    def fitting(self, logged: Logged, count: int) -> Logged:
        """Return what was logged without columns that do not have one value for each completion, which are named."""
        for column, length in logged.misfits(count).items():
            text = f"logged {length} values in the column `{column}` for {count} completions; the column is left out"
            self.warn_once(f"column {column}", text)
        return logged.fitting(count)

    def warn_of_skipped(self, what: str) -> None:
        """Warn that rows are left unjudged because of an error."""
        counted = f"`rewards/{self.__name__}/error_count`"
        text = f"failed ({what}); on_error is `skip`: such rows are left unjudged and counted in {counted}"
        self.warn_once("skipped", text)

    def warn_once(self, kind: str, text: str) -> None:
        """Warn about the reward, the first time of its kind only."""
        if kind not in self.warned:
            self.warned.add(kind)
            logger.warning("reward `%s` %s", self.__name__, text)

    def checked(self, result: Any, count: int, *, one_each: bool = False) -> Answers:
        """Return a result as N numbers or None; NaN means None, as in TRL.

        Args:
            one_each: whether `result` holds N results, each from a call with one completion.
        """
        marks = [self.listed(one, 1)[0] for one in result] if one_each else self.listed(result, count)
        answers = Answers([], marks)
        for row, mark in enumerate(marks):
            value, problem = as_number(mark.value if isinstance(mark, Mark) else mark)
            turns = mark.values if isinstance(mark, Turns) else ()  # 1e38 and -1e38 have a harmless mean
            problem = next(filter(None, [problem, *(as_number(one)[1] for one in turns)]), None)
            answers.values.append(value)
            if problem is not None:
                what = problem.format(row=row)
                if self.on_error == "stop":
                    raise self.broken(what, count)
                self.warn_of_skipped(f"returned {what}")
                answers.errors += 1
        return answers

    def listed(self, result: Any, count: int) -> list[Any]:
        """Return a result as a list of N values; raise RewardError if it is not one."""
        values = as_values(result)
        if values is None:
            raise self.broken(described(result), count, remedy(result))
        if len(values) != count:
            raise self.broken(f"{len(values)} values", count)
        return values

    def broken(self, what: str, count: int, hint: str | None = None) -> RewardError:
        return RewardError(f"reward `{self.__name__}` returned {what}; expected {count} numbers or None", hint)
