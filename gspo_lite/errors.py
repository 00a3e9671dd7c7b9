"""The errors a user can meet, as a tree, each with its exit code on the command line.

    GspoLiteError
    ├── UsageError     2   the recipe, a file it names or the command line is wrong
    │   └── RecipeError    problems found in a recipe, all at once
    │   └── DataError      a data set that cannot be used
    ├── MachineError   3   this machine lacks something, named with the command that installs it
    └── RunError       4   a run failed after it had started; its files stay
        ├── NotSaved       worthless weights, or a checkpoint that could not be written
        └── RewardError    a reward function raised or broke its contract

This module knows nothing about the rest of the package.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path

Place = tuple[str | int, ...]  # where in a recipe: keys, and indices of lists
PACKAGE = str(Path(__file__).parent)


class GspoLiteError(Exception):
    """Base of every error that is explained to the user instead of shown as a traceback.

    Args:
        message: what was found and where.
        hint: what to do next, printed on a second line.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None):
        self.message = message
        self.hint = hint
        super().__init__(message if hint is None else f"{message}\nhint: {hint}")

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class UsageError(GspoLiteError):
    """The recipe, a file it names or the command line is wrong; nothing was started."""

    exit_code = 2


class RecipeError(UsageError):
    """One or more problems in a recipe, one line each, naming place, value and what is allowed."""

    def __init__(self, problems: list[str], hint: str | None = None):
        self.problems = problems
        super().__init__("\n".join(problems), hint)


class DataError(UsageError):
    """A data set that is missing, empty or broken."""


class MachineError(GspoLiteError):
    """This machine lacks something the recipe needs."""

    exit_code = 3


class RunError(GspoLiteError):
    """A run could not continue; `worth_saving` says whether its last step can and should be saved."""

    exit_code = 4
    worth_saving = True


class NotSaved(RunError):
    """A run failed, and its last step cannot or should not be saved."""

    worth_saving = False


class RewardError(RunError):
    """A reward function raised an exception or broke its contract."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows, with the places in the reward's own code."""
        frames = traceback.extract_tb(self.__cause__.__traceback__ if self.__cause__ else None)
        outside = [frame for frame in frames if not frame.filename.startswith(PACKAGE)]
        return [*traceback.format_list(outside), *super()._render_traceback_()]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean `x`?` for the nearest known name, or an empty string if none is near."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean `{near[0]}`?" if near else ""


def first_line(error: BaseException) -> str:
    """Return the first line of a library's message, shortened."""
    return str(error).strip().split("\n")[0][:200]
