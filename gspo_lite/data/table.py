"""Stores problems as a `datasets` table, also where the values of a column are of several types.

Arrow holds one type per column and gives every mapping in it the same keys. A column that does not fit is stored as
JSON and read back row by row, so that rewards get the values of the source.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from gspo_lite.data.images import COLUMN
from gspo_lite.errors import DataError, first_line

MAX_DEPTH = 50  # of lists and mappings in a value
LARGEST_INT = 2**63
ANY, MIXED = "any", "mixed"  # no value seen; values that one Arrow type cannot hold
Shape = Any  # the name of a type, or nested pairs of `list` or `dict` with the shapes inside


def as_dataset(problems: Sequence[dict[str, Any]]) -> Any:
    """Return the problems as a data set; images are opened when a row is read."""
    from datasets import Dataset, Image, List
    from pyarrow import ArrowException

    seen = any(COLUMN in problem for problem in problems)
    rows = [{COLUMN: [], **problem} if seen else problem for problem in problems]
    names = dict.fromkeys(name for row in rows for name in row)
    written = frozenset(name for name in names if common_shape([row.get(name) for row in rows]) == MIXED)
    stored = [
        {name: as_json(value, name, number) if name in written else value for name, value in row.items()}
        for number, row in enumerate(rows, 1)
    ]
    try:
        dataset = Dataset.from_list(stored)
    except (TypeError, ValueError, OverflowError, ArrowException) as error:
        raise DataError(f"a column has values of a type that cannot be stored: {first_line(error)}") from error
    dataset = dataset.cast_column(COLUMN, List(Image())) if seen else dataset
    return dataset.with_transform(partial(read_back, written=written)) if written else dataset


def as_json(value: Any, name: str, number: int) -> str | None:
    """Return a value as JSON; raise DataError for one that has no form in it, such as bytes."""
    try:
        return None if value is None else json.dumps(value, default=written_out)
    except TypeError as error:
        message = f"problem {number}: column `{name}` is a {type(value).__name__} in a column of several types: {error}"
        raise DataError(message, "leave the column out, or give it one type") from error


def written_out(value: Any) -> str:
    """Return a number or a time that JSON does not have as text."""
    if isinstance(value, Decimal | date | time | timedelta | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def read_back(batch: dict[str, list[Any]], written: frozenset[str]) -> dict[str, list[Any]]:
    """Return a batch with the columns that were stored as JSON as values."""
    return {
        name: [None if v is None else json.loads(v) for v in values] if name in written else values
        for name, values in batch.items()
    }


def common_shape(values: Sequence[Any]) -> Shape:
    """Return the shape that all values have, up to missing ones, or MIXED."""
    shape: Shape = ANY
    for value in values:
        shape = joined(shape, shape_of(value))
        if shape == MIXED:
            break
    return shape


def shape_of(value: Any) -> Shape:
    """Return what Arrow has to know of a value: its type, and the shapes of what it holds."""
    if value is None:
        return ANY
    if isinstance(value, list):
        inner = common_shape(value)
        return inner if inner == MIXED else ("list", inner)
    if isinstance(value, dict):
        inside = {key: shape_of(item) for key, item in value.items()}
        return MIXED if MIXED in inside.values() else ("dict", inside)
    if isinstance(value, int) and not -LARGEST_INT <= value < LARGEST_INT:
        return MIXED
    if isinstance(value, str) and not value.isascii() and not value.isprintable() and has_surrogate(value):
        return MIXED
    return "image" if type(value).__module__.startswith("PIL.") else type(value).__name__


def has_surrogate(text: str) -> bool:
    """Return whether a text has half of a surrogate pair, which UTF-8 cannot hold."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def joined(first: Shape, second: Shape) -> Shape:
    """Return the shape of values of two shapes, or MIXED."""
    if first == second or second == ANY:
        return first
    if first == ANY:
        return second
    if not (isinstance(first, tuple) and isinstance(second, tuple) and first[0] == second[0]):
        return MIXED
    if first[0] == "list":
        inner = joined(first[1], second[1])
        return inner if inner == MIXED else ("list", inner)
    if first[1].keys() != second[1].keys():
        return MIXED
    inside = {key: joined(shape, second[1][key]) for key, shape in first[1].items()}
    return MIXED if MIXED in inside.values() else ("dict", inside)


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value with arrays as lists and their numbers as Python's; raise ValueError if it is nested too deep."""
    if depth > MAX_DEPTH:
        raise ValueError(f"a value is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item, depth + 1) for item in value]
    return plain(value.tolist(), depth + 1) if hasattr(value, "tolist") else value
