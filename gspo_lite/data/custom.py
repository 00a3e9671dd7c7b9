"""Custom adapters: `module:function` or `file.py:function`, imported when data is loaded and not before.

    def adapt(row: dict) -> dict                # or adapt(row, columns), with the recipe's data.columns
        return {"prompt": row["question"], "answer": row["value"], "level": row["level"]}

`answer` is None where no reward needs one. A ValueError says that a row cannot be used; anything else that it raises is
a fault of the code and stops the run.
"""

from __future__ import annotations

import inspect
from typing import Any

from gspo_lite.data.columns import named
from gspo_lite.errors import DataError, UsageError
from gspo_lite.recipe.data_settings import Columns
from gspo_lite.system.imports import FAULTS, load_code, located


class CustomAdapter:
    """An adapter from a user's code, called as a built-in one; `sha256` is that of its file, where it has one."""

    def __init__(self, name: str):
        code = load_code(name, "adapter")
        self.name, self.function, self.file, self.sha256 = name, code.found, code.file, code.sha256
        try:
            signature = inspect.signature(self.function)
            self.takes = {"columns"} & set(signature.parameters)
            signature.bind({}, **dict.fromkeys(self.takes))
        except (TypeError, ValueError) as error:
            message = f"adapter `{name}` cannot be called as f(row) or f(row, columns): {error}"
            raise UsageError(message) from error

    def __call__(self, row: dict[str, Any], columns: Columns) -> dict[str, Any]:
        try:
            problem = self.function(row, **dict.fromkeys(self.takes, named(columns)))
        except ValueError as error:
            raise ValueError(located(error, self.file)) from error
        except FAULTS as error:
            raise DataError(f"adapter `{self.name}`: {located(error, self.file)}") from error
        if isinstance(problem, dict) and {"prompt", "answer"} <= problem.keys():
            return problem
        found = f"one with {list(problem)}" if isinstance(problem, dict) else f"a {type(problem).__name__}"
        raise DataError(f"adapter `{self.name}` must return a dict with `prompt` and `answer`; it returned {found}")
