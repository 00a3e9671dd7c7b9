"""Reads local data files row by row, with row numbers so that messages can name a bad row.

Owns the file types, also compressed, and the encodings. Must not know what a row means.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from gspo_lite.data.local import COMPRESSED, file_type, source_problem
from gspo_lite.errors import DataError

MAX_FIELD = 2**31 - 1  # characters of a CSV field; the csv module's own limit is shorter than a long solution
DELIMITERS = ",;\t|"
BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16
OPENERS: dict[str, Callable[..., Any]] = dict(zip(COMPRESSED, (gzip.open, bz2.open, lzma.open), strict=True))
UNPACKING = (EOFError, OSError, lzma.LZMAError)  # what a damaged file raises when it is read


@dataclass(frozen=True)
class Row:
    """A row: its number in its file, from 1 (a line number in JSONL), and its values or why it could not be read.

    Attributes:
        file: name of its file, where a source has several.
    """

    number: int
    values: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    file: str | None = None

    @property
    def place(self) -> str:
        """Where the row is, as messages name it."""
        return f"row {self.number}" + (f" of `{self.file}`" if self.file else "")


def read_file(path: Path) -> Iterator[Row]:
    """Yield the rows of a local file, read by its type; raise DataError if it is missing, unknown or damaged."""
    wrong = source_problem(str(path))
    if wrong:
        raise DataError(wrong)
    try:
        yield from READERS[file_type(path)](path)
    except UNPACKING as error:
        raise DataError(f"`{path}` cannot be read: {error}") from error
    except UnicodeError as error:
        message = f"`{path}` is not UTF-8; it may be Windows-1252 or Latin-1"
        raise DataError(message, f"iconv -f WINDOWS-1252 -t UTF-8 {path} > utf8{file_type(path)}") from error


def opened(path: Path) -> BinaryIO:
    """Open a file to read its bytes, unpacked."""
    opener = OPENERS.get(path.suffix.lower(), open)
    file: BinaryIO = opener(path, "rb")
    return file


def text_of(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 where its first bytes say so."""
    with opened(path) as file:
        data = file.read()
    return data.decode("utf-16" if is_wide(data[:4], path) else "utf-8-sig")


def is_wide(start: bytes, path: Path) -> bool:
    """Return whether a file is in UTF-16, by its first bytes; raise DataError if they look like it unsaid."""
    if start.startswith(BYTE_ORDER_MARKS):
        return True
    if b"\0" in start:
        hint = f"iconv -f UTF-16LE -t UTF-8 {path} > utf8{file_type(path)}"
        raise DataError(f"`{path}` looks like UTF-16 without a byte order mark", hint)
    return False


def read_jsonl(path: Path) -> Iterator[Row]:
    """Yield the JSON object of each line; skip empty lines."""
    with opened(path) as file:
        wide = is_wide(file.read(4), path)
        file.seek(0)
        lines = (line.encode() for line in text_of(path).split("\n")) if wide else file
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield json_row(number, line)


def json_row(number: int, line: bytes) -> Row:
    """Return the row of a JSONL line."""
    try:
        values = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Row(number, problem=f"not UTF-8 at byte {error.start}; it may be Windows-1252 or Latin-1")
    except (ValueError, RecursionError) as error:
        return Row(number, problem=f"not JSON: {error}")
    return object_row(number, values)


def object_row(number: int, values: Any) -> Row:
    """Return a JSON value as a row."""
    if not isinstance(values, dict):
        return Row(number, problem=f"a {type(values).__name__}, not a JSON object")
    return Row(number, values)


def read_json(path: Path) -> Iterator[Row]:
    """Yield the objects of a JSON list, of the one list in an object, or of JSON lines under the wrong suffix."""
    try:
        found = json.loads(text_of(path))
    except UnicodeError:
        raise
    except (ValueError, RecursionError) as error:
        first = next(read_jsonl(path), None)
        if first is None or first.problem is None:  # many data sets call JSON lines `.json`
            yield from read_jsonl(path)
            return
        raise DataError(f"`{path}` is not JSON: {error}") from error
    for number, values in enumerate(listed(found, path), 1):
        yield object_row(number, values)


def listed(found: Any, path: Path) -> list[Any]:
    """Return the rows in the JSON value of a file: a list, an object with one list of objects, or one of columns."""
    if isinstance(found, list):
        return found
    lists = {key: value for key, value in found.items() if isinstance(value, list)} if isinstance(found, dict) else {}
    tables = [value for value in lists.values() if value and isinstance(value[0], dict)]
    if len(tables) == 1:
        return tables[0]
    if lists and len(lists) == len(found) and not tables and len({len(value) for value in lists.values()}) == 1:
        return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    if isinstance(found, dict) and found and not any(isinstance(value, list | dict) for value in found.values()):
        return [found]  # the only line of JSON lines
    keys = f"an object with {', '.join(f'`{key}`' for key in found)}" if isinstance(found, dict) else repr(found)[:40]
    raise DataError(f"`{path}` holds {keys}, not a list of rows", "write one list of objects, or a JSON object a line")


def read_csv(path: Path) -> Iterator[Row]:
    """Yield the rows under a header line, whose commonest delimiter counts; a row of another width is bad."""
    csv.field_size_limit(MAX_FIELD)
    text = text_of(path)
    header = text.partition("\n")[0]
    delimiter = "\t" if file_type(path) == ".tsv" else max(DELIMITERS, key=header.count)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        reader.fieldnames = names_of(reader.fieldnames or (), path)
        for number, values in enumerate(reader, 1):
            complete = None not in values and None not in values.values()
            problem = None if complete else "a different number of fields than the header"
            yield Row(number, values if complete else {}, problem)
    except csv.Error as error:
        raise DataError(f"`{path}` is not CSV: {error}") from error


def names_of(header: Any, path: Path) -> list[str]:
    """Return the names in a header without blanks around them; raise DataError if one occurs twice."""
    names = [name.strip() for name in header]
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise DataError(f"`{path}`: the header names `{repeated[0]}` {names.count(repeated[0])} times")
    return names


def read_table(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet or an Arrow file."""
    import datasets
    import pyarrow
    import pyarrow.parquet

    parquet = file_type(path) == ".parquet"
    try:
        table = pyarrow.parquet.read_table(path) if parquet else datasets.Dataset.from_file(str(path)).data.table
        rows = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        kind = "Parquet" if parquet else "an Arrow stream"
        raise DataError(f"`{path}` is not {kind}: {str(error).splitlines()[0]}") from error
    for number, values in enumerate(rows, 1):
        yield Row(number, values)


READERS = {
    ".jsonl": read_jsonl, ".ndjson": read_jsonl, ".json": read_json, ".csv": read_csv, ".tsv": read_csv,
    ".parquet": read_table, ".arrow": read_table,
}  # fmt: skip
