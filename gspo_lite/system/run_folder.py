"""The run folder: which file holds what, and how each is written.

    recipe.yaml          the resolved recipe; running it again reproduces the run
    environment.json     versions, hardware, command, seconds
    metrics.jsonl        one object per optimizer step
    completions.jsonl    sampled training completions with their rewards
    events.jsonl         what the guards said, and what ended the run early
    eval.json            held-out figures before, after a warm-up, and after
    eval_samples.jsonl   the held-out completions behind them
    adapter/             the trained adapter, for PEFT
    checkpoints/         for resuming
    warmup/              the adapter after a supervised warm-up, where the recipe has one
    report.html, README.md

Floor 0: the standard library and ruamel.yaml only.
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


def is_run(folder: Path) -> bool:
    """Whether `folder` holds a run of ours."""
    return (folder / RECIPE).is_file() and (folder / ENVIRONMENT).is_file()


def refuse_existing(folder: Path, if_exists: str) -> None:
    """Refuse an output folder that would lose something; writes nothing.

    Raises:
        UsageError: where it holds a run and `if_exists` is `raise`, is not empty but no run, or is a file.
    """
    if folder.is_file():
        raise UsageError(f"`output.dir` `{folder}` is a file; name a folder")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names <= {LOCK, RECIPE, unfinished_name(RECIPE), unfinished_name(ENVIRONMENT)}:
        return  # nothing, or a run that was killed before it had begun
    if not is_run(folder):
        raise UsageError(f"`output.dir` `{folder}` holds files that are no run of gspo-lite", "name another folder")
    if if_exists == "raise":
        raise UsageError(
            f"`output.dir` `{folder}` holds a run already; nothing was changed",
            "choose another folder with --output, or add --set output.if_exists=overwrite (or =resume)",
        )


def open_folder(folder: Path, *, keep: bool) -> None:
    """Make the run folder; what an earlier run left there is removed unless `keep`, all but the lock of this one.

    Raises:
        UsageError: where it cannot be made, emptied or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in [] if keep else [path for path in folder.iterdir() if path.name != LOCK]:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError as error:
        raise UsageError(f"`output.dir` `{folder}` cannot be written to: {error.strerror}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text with secrets masked; a reader finds the old file or the new one, never half of it."""
    write_whole(path, redact(text))


def write_whole(path: Path, text: str) -> None:
    """Write beside and rename."""
    unfinished = path.with_name(unfinished_name(path.name))
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # or a power cut leaves the new name with nothing behind it
    os.replace(unfinished, path)


def unfinished_name(name: str) -> str:
    """What a file is called while it is written."""
    return f".{name}.new"


def write_json(path: Path, value: Any) -> None:
    """Write one JSON document, for people to read as well."""
    write_whole(path, json.dumps(redact_values(finite(value)), indent=2, ensure_ascii=False) + "\n")


def append_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append rows, one JSON object per line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(as_lines(rows))


def note_event(folder: Path, step: int, kind: str, text: str, hint: str | None = None) -> None:
    """Keep what was said during a run for its report; a full disk must not hide the event itself.

    Args:
        step: optimizer steps done.
        kind: `warning`, or `stopped` for what ended the run early.
    """
    with suppress(OSError):
        append_jsonl(folder / EVENTS, [{"step": step, "kind": kind, "text": text, "hint": hint}])


def as_lines(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as the lines of a .jsonl file, secrets masked."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in redact_values([finite(row) for row in rows]))


def read_json(path: Path) -> Any:
    """Read one JSON document."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read rows; none where the file is missing, and a last line cut off by a kill is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def keep_until(path: Path, step: int) -> None:
    """Drop rows after `step`, which a resumed run writes again, and a last line that a kill cut off."""
    if path.is_file():
        write_whole(path, as_lines(row for row in read_jsonl(path) if row["step"] <= step))


def drop_phase(path: Path, phase: str) -> None:
    """Drop the held-out completions of a phase that is measured again."""
    if path.is_file():
        write_whole(path, as_lines(row for row in read_jsonl(path) if row["phase"] != phase))


def finite(value: Any) -> Any:
    """The same value with NaN and infinity as null, which JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value
