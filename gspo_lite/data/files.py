"""Reads local JSONL, CSV and Parquet files row by row, with row numbers so that messages can name a bad row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gspo_lite.errors import DataError, did_you_mean


@dataclass(frozen=True)
class Row:
    """A row: its number in the source, from 1 (a line number in JSONL), and its values or why it could not be read."""

    number: int
    values: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


def read_file(path: Path) -> Iterator[Row]:
    """Return the rows of a local file, read by its suffix; raise DataError if it is missing or of an unknown type."""
    if not path.is_file():
        there = path.parent.iterdir() if path.parent.is_dir() else ()
        raise DataError(f"there is no file `{path}`{did_you_mean(path.name, (entry.name for entry in there))}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"`{path}` has an unknown file type; allowed: {', '.join(READERS)}")
    return reader(path)


def read_jsonl(path: Path) -> Iterator[Row]:
    """Yield the JSON object of each line; skip empty lines."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield json_row(number, line)


def json_row(number: int, line: bytes) -> Row:
    try:
        values = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Row(number, problem=f"not UTF-8 at byte {error.start}")
    except (json.JSONDecodeError, RecursionError) as error:
        return Row(number, problem=f"not JSON: {error}")
    if not isinstance(values, dict):
        return Row(number, problem=f"a {type(values).__name__}, not a JSON object")
    return Row(number, values)


def read_csv(path: Path) -> Iterator[Row]:
    """Yield the rows under a header line; a row of another width is bad."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, values in enumerate(csv.DictReader(file), 1):
                complete = None not in values and None not in values.values()
                problem = None if complete else "a different number of fields than the header"
                yield Row(number, values if complete else {}, problem)
    except UnicodeDecodeError as error:
        raise DataError(f"`{path}` is not UTF-8 (byte {error.start} of a block)", "save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"`{path}` is not CSV: {error}") from error


def read_parquet(path: Path) -> Iterator[Row]:
    """Return the rows of a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"`{path}` is not Parquet: {str(error).splitlines()[0]}") from error
    return (Row(number, values) for number, values in enumerate(table.to_pylist(), 1))


READERS = {".jsonl": read_jsonl, ".csv": read_csv, ".parquet": read_parquet}
