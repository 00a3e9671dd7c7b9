"""Rows of any kind of source: an embedded task, local files, a folder, or a hub data set, downloaded or streamed.

Owns where rows come from, and what is said when there are none to be had. Must not know what a row means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from gspo_lite.data import arithmetic, countdown, directory, letters, people, word_problems
from gspo_lite.data.columns import named
from gspo_lite.data.files import Row, read_file
from gspo_lite.data.local import is_folder, is_local, is_pattern, matching, path_of, source_problem
from gspo_lite.errors import DataError, MachineError, Place, did_you_mean, first_line
from gspo_lite.recipe.data_settings import DataSettings
from gspo_lite.recipe.problem import Problem
from gspo_lite.recipe.schema import Recipe

EMBEDDED = {
    "arithmetic": arithmetic.problems, "countdown": countdown.problems, "directory": directory.problems,
    "letters": letters.problems, "people": people.problems, "word_problems": word_problems.problems,
}  # fmt: skip
SAVED = "state.json"  # in a folder of Dataset.save_to_disk
SAVED_SPLITS = "dataset_dict.json"  # in a folder of DatasetDict.save_to_disk
GO_ONLINE = "go online once, or name a local file or folder"


def check_sources(recipe: Recipe) -> list[Problem]:
    """Return a problem for each source of a recipe that is not on this machine although it should be."""
    data = recipe.data
    sources: list[tuple[Place, str | None]] = [
        (("data", "source"), data.source), (("data", "eval", "source"), data.eval.source),
        (("warmup", "source"), recipe.warmup.source if recipe.warmup else None),
    ]  # fmt: skip
    given = [(place, source) for place, source in sources if source and source not in EMBEDDED]
    found = [(place, source_problem(source)) for place, source in given]
    return [*(Problem(place, wrong) for place, wrong in found if wrong), *streaming_problems(data)]


def streaming_problems(data: DataSettings) -> Iterator[Problem]:
    """Yield what keeps a source from being streamed."""
    if not data.streaming:
        return
    for place, limit in ((("data", "limit"), data.limit), (("data", "eval", "limit"), data.eval.limit)):
        if limit is None:
            yield Problem(place, "data.streaming reads the first rows and needs to know how many; set a number")
    if data.source in EMBEDDED or (is_local(data.source) and not is_folder(data.source)):
        message = f"is for a hub data set or a folder of files; `{data.source}` is read without it"
        yield Problem(("data", "streaming"), message)


def read_rows(data: DataSettings, source: str, split: str) -> Iterable[Row]:
    """Return the rows of any kind of source, numbered from 1.

    Raises:
        DataError: the source is missing, damaged or of an unknown type.
        MachineError: a hub data set is not on this machine and the hub cannot be reached.
    """
    if source in EMBEDDED:
        return numbered(embedded(data, source, split))
    wrong = source_problem(source)
    if wrong:
        raise DataError(wrong)
    if is_pattern(source):
        return (replace(row, file=path.name) for path in matching(source) for row in read_file(path))
    if is_local(source) and not is_folder(source):
        return read_file(path_of(source))
    return numbered(by_datasets(data, source, split))


def numbered(rows: Iterable[Any]) -> Iterator[Row]:
    """Yield the rows with their numbers."""
    return (Row(number, dict(values)) for number, values in enumerate(rows, 1))


def has_splits(source: str) -> bool:
    """Return whether a source may have a part of its own to evaluate on."""
    return not is_local(source) or (is_folder(source) and not (path_of(source) / SAVED).is_file())


def embedded(data: DataSettings, source: str, split: str) -> list[dict[str, Any]]:
    """Return the rows of an embedded task; additions also have their worked `steps`."""
    rows: list[dict[str, Any]] = EMBEDDED[source](split, data.subset)
    if source != "arithmetic":
        return rows
    prompt = named(data.columns).prompt
    return [{prompt: row["question"], **row, "steps": worked(row["question"])} for row in rows]


def worked(question: str) -> str:
    """Return an addition column by column, as the starter model writes it: 47 + 85 is `7+5=12,4+8+1=13`."""
    a, b = (int(number) for number in re.findall(r"[0-9]+", question))
    steps, carry = [], 0
    for x, y in arithmetic.columns(a, b):
        total = x + y + carry
        steps.append(f"{x}+{y}{'+1' if carry else ''}={total}")
        carry = total // 10
    return ",".join(steps)


def by_datasets(data: DataSettings, source: str, split: str) -> Iterator[Any]:
    """Yield the rows of one split of a folder or a hub data set; raise the library's errors in one line."""
    try:
        yield from loaded(source, data.subset, split, data.streaming)
    except (DataError, MachineError):
        raise
    except Exception as error:  # the library and its readers have no common one
        raise explained(error, source) from error


def loaded(source: str, subset: str | None, split: str, streaming: bool) -> Any:
    """Return one split as the `datasets` library loads it."""
    import datasets

    folder = path_of(source).resolve()
    if (folder / SAVED).is_file():
        return datasets.load_from_disk(str(folder))
    if (folder / SAVED_SPLITS).is_file():
        splits = datasets.load_from_disk(str(folder))
        if split not in splits:
            there = ", ".join(f"`{name}`" for name in splits)
            raise DataError(f"`{source}` has no split `{split}`; it has {there}", "set data.split and data.eval.split")
        return splits[split]
    name = str(folder) if folder.is_dir() else source
    return datasets.load_dataset(name, subset, split=split, streaming=streaming)


def explained(error: Exception, source: str) -> DataError | MachineError:
    """Return the error to raise for one of the `datasets` library."""
    from datasets.exceptions import DatasetNotFoundError

    text, shown = first_line(error), f"`data.source` `{source}`"
    if isinstance(error, DatasetNotFoundError) and "offline" not in str(error).lower():
        hint = "check the id and data.subset; for a private or gated one, accept its terms and log in: hf auth login"
        return DataError(f"{shown}: {text}{did_you_mean(source, EMBEDDED)}", hint)
    if isinstance(error, ConnectionError | OSError) and not is_folder(source):
        return MachineError(f"{shown} is not on this machine and the hub cannot be reached", GO_ONLINE)
    if "split" in text.lower():
        part = "data.split or data.eval.split; `train[:-500]` and `train[-500:]` cut one split in two"
        return DataError(f"{shown}: {text}", f"check {part}")
    if "scripts are no longer supported" in text:
        return DataError(f"{shown} needs code of its own to load, which `datasets` no longer runs", "name a copy of it")
    return DataError(f"{shown}: {type(error).__name__}: {text}", "check data.subset, data.split and the files")
