"""The run folder: its files and how each is written.

recipe.yaml          the resolved recipe; running it again reproduces the run
environment.json     versions, hardware, command, seconds, hashes of code, the system message that all prompts share
metrics.jsonl        one object per optimizer step
completions.jsonl    sampled training completions, their problems and rewards, and what rewards logged
events.jsonl         warnings of the guards, and the cause of an early stop
eval.json            held-out figures before training, after a warm-up, and after training
eval_samples.jsonl   held-out completions behind those figures
adapter/             the trained adapter, for PEFT
checkpoints/         for resuming
warmup/              the adapter after a supervised warm-up, if the recipe has one
report.html, report.md, plots/, README.md
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gspo_lite.errors import UsageError
from gspo_lite.system.lock import LOCK
from gspo_lite.system.redaction import redact, redact_values

RECIPE, ENVIRONMENT, METRICS, COMPLETIONS = "recipe.yaml", "environment.json", "metrics.jsonl", "completions.jsonl"
EVAL, EVAL_SAMPLES, ADAPTER, CHECKPOINTS = "eval.json", "eval_samples.jsonl", "adapter", "checkpoints"
WARMUP, EVENTS = "warmup", "events.jsonl"
STOPPED = "stopped"  # the kind of an event that ended a run early
SYSTEM_MESSAGE = "system_message"  # in environment.json: that of every training prompt, null if they differ


def is_run(folder: Path) -> bool:
    """Return whether a folder contains a run of gspo-lite."""
    return (folder / RECIPE).is_file() and (folder / ENVIRONMENT).is_file()


def refuse_existing(folder: Path, if_exists: str) -> None:
    """Raise UsageError for a folder that is a file, has unrelated files, or holds a run that `if_exists` protects."""
    if folder.is_file():
        raise UsageError(f"`output.dir` `{folder}` is a file; it must be a folder")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names <= {LOCK, RECIPE, unfinished_name(RECIPE), unfinished_name(ENVIRONMENT)}:
        return  # empty, or left by a run that was killed before it began
    if not is_run(folder):
        message = f"`output.dir` `{folder}` contains files that are not a run of gspo-lite; nothing was changed"
        raise UsageError(message, "choose another folder with --output")
    if if_exists == "raise":
        raise UsageError(
            f"`output.dir` `{folder}` already contains a run; nothing was changed",
            "set output.if_exists to resume or overwrite, or output.dir to another folder",
        )


def open_folder(folder: Path, *, keep: bool) -> None:
    """Create the run folder and, unless `keep`, remove everything in it but the lock.

    Raises:
        UsageError: the folder cannot be created, emptied or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in [] if keep else [path for path in folder.iterdir() if path.name != LOCK]:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError as error:
        raise UsageError(f"`output.dir` `{folder}` cannot be written to: {error.strerror}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text atomically, with secrets masked."""
    write_whole(path, redact(text))


def write_whole(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it, so that no reader ever sees half of it."""
    unfinished = path.with_name(unfinished_name(path.name))
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # otherwise a power cut can leave an empty file under the final name
    os.replace(unfinished, path)


def unfinished_name(name: str) -> str:
    """Return the name of a file while it is being written."""
    return f".{name}.new"


def write_json(path: Path, value: Any) -> None:
    """Write one JSON document, indented for people."""
    write_whole(path, json.dumps(redact_values(finite(value)), indent=2, ensure_ascii=False) + "\n")


def append_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append rows, one JSON object per line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(as_lines(rows))


def note_event(folder: Path, step: int, kind: str, text: str, hint: str | None = None) -> None:
    """Record an event for the report: a `warning`, or `stopped` with the cause; `step` counts optimizer steps done."""
    with suppress(OSError):  # a full disk must not hide the event itself
        append_jsonl(folder / EVENTS, [{"step": step, "kind": kind, "text": text, "hint": hint}])


def as_lines(rows: Iterable[dict[str, Any]]) -> str:
    """Return rows as the lines of a .jsonl file, secrets masked."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in redact_values([finite(row) for row in rows]))


def read_json(path: Path) -> Any:
    """Read one JSON document."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a file, none if it is missing; a last line cut off by a kill is ignored."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def keep_until(path: Path, step: int) -> None:
    """Drop rows after `step`, which a resumed run writes again, and a last line cut off by a kill."""
    if path.is_file():
        write_whole(path, as_lines(row for row in read_jsonl(path) if row["step"] <= step))


def drop_phase(path: Path, phase: str) -> None:
    """Drop the held-out completions of a phase that is measured again."""
    if path.is_file():
        write_whole(path, as_lines(row for row in read_jsonl(path) if row["phase"] != phase))


def finite(value: Any) -> Any:
    """Return a value with NaN and infinity, which JSON cannot express, replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value
