"""Reads problems with a prompt and an answer from a hub data set, a local file or an embedded task.

    {"prompt": [{"role": "user", "content": "..."}], "answer": "72", "images": [...], ...the source's other columns}

Owns where rows come from, which of them can be used, and what is held out. Must not know models or rewards.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gspo_lite.data import arithmetic, countdown
from gspo_lite.data.adapters import Adapter, load_adapter
from gspo_lite.data.files import READERS, Row, read_file
from gspo_lite.data.images import COLUMN, MARKER, fingerprint, images_of
from gspo_lite.data.prompts import as_text, messages, system_message
from gspo_lite.errors import DataError, MachineError
from gspo_lite.recipe.schema import DataSettings

EMBEDDED = {"arithmetic": arithmetic.problems, "countdown": countdown.problems}
MAX_PROMPT_CHARACTERS = 100_000
SHOWN = 5  # bad rows in a message
OWN_SHARE = 0.1  # of a local file that is held out if the recipe has no data.eval.source


@dataclass(frozen=True)
class Problems:
    """Training and held-out problems, notes for the user, one line each, and the adapter that made the problems."""

    train: Any
    held_out: Any
    notes: list[str]
    adapter: Adapter


def load_problems(data: DataSettings) -> Problems:
    """Load both parts of a recipe's data.

    Raises:
        DataError: a source is missing or empty, or has rows that cannot be used and `bad_rows` is `stop`.
        MachineError: a hub data set is not on this machine and the hub cannot be reached.
    """
    notes: list[str] = []
    adapt = load_adapter(data.adapter)
    train = read_problems(data, adapt, data.source, data.split, notes)
    if data.eval.source is None and is_file(data.source):
        cut = max(1, min(data.eval.limit or len(train), int(len(train) * OWN_SHARE)))
        train, held_out = train[:-cut], train[-cut:]
        notes.append(f"without data.eval.source, the last {cut} problems of `{data.source}` are held out")
    else:
        held_out = read_problems(data, adapt, data.eval.source or data.source, data.eval.split, notes)
    held_out = held_out[: data.eval.limit]
    train = without(train, held_out, notes)[: data.limit]
    if not train:
        raise DataError(f"`data.source` `{data.source}` leaves no problem to train on")
    return Problems(as_dataset(train), as_dataset(held_out), notes, adapt)


def as_dataset(problems: list[dict[str, Any]]) -> Any:
    """Return the problems as a data set; images are opened when a row is read."""
    from datasets import Dataset, Image, List

    seen = any(COLUMN in problem for problem in problems)
    try:
        dataset = Dataset.from_list([{COLUMN: [], **problem} if seen else problem for problem in problems])
    except (TypeError, ValueError) as error:  # pyarrow's are both
        raise DataError(f"a column has values of two types or of an unsupported type: {first_line(error)}") from error
    return dataset.cast_column(COLUMN, List(Image())) if seen else dataset


def read_problems(
    data: DataSettings, adapt: Adapter, source: str, split: str, notes: list[str]
) -> list[dict[str, Any]]:
    """Return the usable problems of one source, each once."""
    problems: dict[str, dict[str, Any]] = {}
    bad: list[str] = []
    repeated = 0
    for row in read_rows(data, source, split):
        try:
            if row.problem:
                raise ValueError(row.problem)
            problem = finished(with_images(adapt(row.values, data.columns), data, source), system_message(data))
        except ValueError as error:
            bad.append(f"row {row.number}: {error}")
            continue
        except DataError as error:  # in a user's adapter
            raise DataError(f"`{source}`: row {row.number}: {error.message}") from error
        key = identity(problem)
        repeated += key in problems
        problems.setdefault(key, problem)
    report_bad_rows(bad, source, data.bad_rows, notes)
    if repeated:
        notes.append(f"{repeated} problems of `{source}` repeat an earlier prompt and are left out")
    if not problems:
        raise DataError(f"`{source}` has no row that can be used")
    return list(problems.values())


def read_rows(data: DataSettings, source: str, split: str) -> Iterable[Row]:
    """Return the rows of any kind of source, numbered from 1."""
    if source in EMBEDDED:
        return (Row(n, row) for n, row in enumerate(embedded(data, source, split), 1))
    if is_file(source):
        return read_file(Path(source).expanduser())
    return (Row(n, dict(values)) for n, values in enumerate(from_hub(source, data.subset, split), 1))


def embedded(data: DataSettings, source: str, split: str) -> list[dict[str, Any]]:
    """Return the rows of an embedded task; additions also have their worked `steps`."""
    rows: list[dict[str, Any]] = EMBEDDED[source](split, data.subset)
    if source != "arithmetic":
        return rows
    return [{data.columns.prompt: row["question"], **row, "steps": worked(row["question"])} for row in rows]


def worked(question: str) -> str:
    """Return an addition column by column, as the starter model writes it: 47 + 85 is `7+5=12,4+8+1=13`."""
    a, b = (int(number) for number in re.findall(r"[0-9]+", question))
    steps, carry = [], 0
    for x, y in arithmetic.columns(a, b):
        total = x + y + carry
        steps.append(f"{x}+{y}{'+1' if carry else ''}={total}")
        carry = total // 10
    return ",".join(steps)


def is_file(source: str) -> bool:
    """Return whether a source names a local file."""
    return Path(source).suffix.lower() in READERS or source.startswith((".", "/", "~"))


def from_hub(source: str, subset: str | None, split: str) -> Any:
    """Load one split of a hub data set; raise the hub's errors in one line."""
    import datasets

    try:
        return datasets.load_dataset(source, subset, split=split)
    except (ConnectionError, OSError) as error:
        if isinstance(error, datasets.exceptions.DatasetNotFoundError) and "offline" not in str(error).lower():
            raise DataError(f"`data.source` `{source}`: {first_line(error)}", "check the id and data.subset") from error
        message = f"`data.source` `{source}` is not on this machine and the hub cannot be reached"
        raise MachineError(message, "go online once, or name a local .jsonl, .csv or .parquet file") from error
    except ValueError as error:
        raise DataError(f"`data.source` `{source}`: {first_line(error)}", "check data.subset and data.split") from error


def finished(row: dict[str, Any], system: str | None) -> dict[str, Any]:
    """Return the problem with its prompt as a chat and its answer as text; raise ValueError if either is wrong."""
    prompt, answer = row["prompt"], row["answer"]
    if not isinstance(prompt, str) and not is_chat(prompt):
        raise ValueError(f"the prompt is {kind(prompt)}, not text or a list of messages")
    text = as_text(prompt)
    if not text.strip():
        raise ValueError("the prompt is empty")
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise ValueError(f"the prompt has {len(text)} characters; at most {MAX_PROMPT_CHARACTERS} are allowed")
    return {**row, "prompt": messages(prompt, system), "answer": answer_text(answer)}


def with_images(row: dict[str, Any], data: DataSettings, source: str) -> dict[str, Any]:
    """Return the row with its images under TRL's name, and without image markers in its text."""
    name = data.columns.images
    if name not in row:
        return row
    images = images_of(row[name], Path(source).expanduser().parent if is_file(source) else None)
    prompt = row["prompt"].replace(MARKER, "").strip() if isinstance(row["prompt"], str) else row["prompt"]
    return {**{key: value for key, value in row.items() if key != name}, "prompt": prompt, COLUMN: images}


def identity(problem: dict[str, Any]) -> str:
    """Return the question and a fingerprint of its images; equal problems have equal identities."""
    return as_text(problem["prompt"]) + fingerprint(problem.get(COLUMN, []))


def is_chat(prompt: Any) -> bool:
    """Return whether a prompt is a list of messages."""
    return isinstance(prompt, list) and bool(prompt) and all(isinstance(m, dict) and "role" in m for m in prompt)


def answer_text(answer: Any) -> str:
    """Return an answer as text; raise ValueError unless it is text or a finite number."""
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        raise ValueError(f"the answer is {kind(answer)}, not text or a number")
    if isinstance(answer, float) and not math.isfinite(answer):
        raise ValueError(f"the answer is {answer}")
    text = str(answer).strip()
    if not text:
        raise ValueError("the answer is empty")
    return text


def kind(value: Any) -> str:
    """Return a value's type in a user's words."""
    return "missing" if value is None else f"a {type(value).__name__}"


def report_bad_rows(bad: list[str], source: str, bad_rows: str, notes: list[str]) -> None:
    """Raise DataError for bad rows, or add a note, as the recipe says."""
    if not bad:
        return
    shown = bad[:SHOWN] + ([f"... and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else [])
    if bad_rows == "stop":
        lines = "\n".join(f"  {line}" for line in shown)
        message = f"`{source}` has {len(bad)} rows that cannot be used:\n{lines}"
        raise DataError(message, "fix them, or set data.bad_rows to skip")
    notes.append(f"{len(bad)} rows of `{source}` skipped: {'; '.join(shown)}")


def without(train: list[dict[str, Any]], held_out: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    """Return the training problems that are not held out."""
    measured = {identity(problem) for problem in held_out}
    kept = [problem for problem in train if identity(problem) not in measured]
    if len(kept) < len(train):
        notes.append(f"{len(train) - len(kept)} training problems are also held out and are not trained on")
    return kept


def first_line(error: Exception) -> str:
    """Return the first line of a library's message, shortened."""
    return str(error).strip().split("\n")[0][:200]
