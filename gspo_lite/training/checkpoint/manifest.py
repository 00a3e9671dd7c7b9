"""What makes a checkpoint complete: its manifest, the search for the newest complete one, and rotation.

    checkpoints/checkpoint-40/manifest.json    {"step", "files": {name: {"bytes", "sha256"}}, "needs", "sha256"}
    checkpoints/.saving-.../                   being written; never read
    checkpoints/broken-checkpoint-48/          incomplete, set aside on resuming

Imports neither torch nor trl, so that a run can be refused before anything heavy is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gspo_lite.errors import UsageError
from gspo_lite.system.redaction import redact_values

MANIFEST = "manifest.json"
STAGING, GONE, BROKEN = ".saving-", ".gone-", "broken-"
NAME = re.compile(r"checkpoint-(\d+)")
CHUNK = 1 << 20  # bytes read at a time


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint after `step` optimizer steps; `needs` has recipe, versions and custom code of a run."""

    path: Path
    step: int
    needs: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """The newest complete checkpoint, if any, and one line for each newer one that was skipped."""

    checkpoint: Checkpoint | None
    skipped: list[str] = field(default_factory=list)


def write_manifest(folder: Path, step: int, needs: dict[str, Any]) -> int:
    """Describe every file below `folder`, flush everything to the disk, and return its size in bytes."""
    files = {str(path.relative_to(folder)): described(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    content = {"step": step, "files": files, "needs": redact_values(needs, fingerprints=True)}
    text = json.dumps({**content, "sha256": digest_of(content)}, indent=1)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    for path in [*folder.rglob("*"), folder]:
        flush(path)
    return sum(one["bytes"] for one in files.values()) + len(text)


def described(path: Path) -> dict[str, Any]:
    """Return size and hash of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def digest_of(content: dict[str, Any]) -> str:
    """Return the hash of the manifest itself, which protects its step and needs."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint; raise ValueError with the reason if it is missing or was changed."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        digest = content.pop("sha256")
    except FileNotFoundError:
        raise ValueError(f"it has no `{MANIFEST}`, so it was never finished") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
        raise ValueError(f"its `{MANIFEST}` cannot be read") from None
    if digest != digest_of(content):
        raise ValueError(f"its `{MANIFEST}` was changed after it was written")
    return content


def fault_of(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint; None if every file is as it was written."""
    try:
        files = read_manifest(folder)["files"]
        for name, wanted in files.items():
            path = folder / name
            if not path.is_file():
                return f"`{name}` is missing"
            size = path.stat().st_size
            if size != wanted["bytes"]:
                return f"`{name}` has {size} bytes, not {wanted['bytes']}"
            if described(path)["sha256"] != wanted["sha256"]:
                return f"`{name}` was changed after it was written (sha256)"
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return None


def by_step(checkpoints: Path) -> list[tuple[int, Path]]:
    """Return steps and folders of the checkpoints, newest first, complete or not."""
    found = checkpoints.iterdir() if checkpoints.is_dir() else iter(())
    named = [(NAME.fullmatch(path.name), path) for path in found if path.is_dir()]
    return sorted(((int(match.group(1)), path) for match, path in named if match), reverse=True)


def is_last(checkpoint: Path, checkpoints: Path) -> bool:
    """Return whether a checkpoint lies in this folder and has its latest step."""
    return any(checkpoint.resolve() == path.resolve() for _, path in by_step(checkpoints)[:1])


def newest_complete(checkpoints: Path) -> Found:
    """Return the checkpoint to resume from; reads only."""
    skipped: list[str] = []
    for step, path in by_step(checkpoints):
        fault = fault_of(path)
        if fault is None:
            manifest = read_manifest(path)
            return Found(Checkpoint(path, int(manifest["step"]), manifest["needs"]), skipped)
        skipped.append(f"checkpoint of step {step} skipped: {fault}")
    return Found(None, skipped)


def only_complete(checkpoints: Path) -> Checkpoint:
    """Return the newest complete checkpoint; raise UsageError if there is none."""
    found = newest_complete(checkpoints)
    if found.checkpoint is None:
        why = f": {'; '.join(found.skipped)}" if found.skipped else ""
        raise UsageError(
            f"`{checkpoints}` has no complete checkpoint to resume from{why}",
            "to continue from a checkpoint of TRL's own trainer, give its path as resume_from_checkpoint",
        )
    return found.checkpoint


def written_at(checkpoint: Path) -> float:
    """Return the time at which a checkpoint was finished; 0 for one that never was."""
    path = checkpoint / MANIFEST
    return path.stat().st_mtime if path.is_file() else 0.0


def tidy(checkpoints: Path, newest: Checkpoint | None) -> None:
    """Remove what a killed save or rotation left behind, and set newer, incomplete checkpoints aside."""
    if not checkpoints.is_dir():
        return
    for path in checkpoints.iterdir():
        if path.name.startswith((STAGING, GONE)):
            shutil.rmtree(path, ignore_errors=True)
    for step, path in by_step(checkpoints):
        if newest is None or step > newest.step:
            aside = path.with_name(BROKEN + path.name)
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)


def publish(written: Path, final: Path) -> None:
    """Move a finished checkpoint into place atomically; one already there is broken, or another training's."""
    gone = final.with_name(GONE + final.name)
    if final.exists():
        final.rename(gone)
    os.rename(written, final)
    flush(final.parent)
    shutil.rmtree(gone, ignore_errors=True)


def rotate(checkpoints: Path, newest: Path, limit: int | None, best: str | None = None) -> None:
    """Remove the checkpoints written first beyond `limit`, never the one just written or the best."""
    kept = {newest.name} | ({Path(best).name} if best else set())
    older = [path for _, path in by_step(checkpoints) if path.name not in kept]
    older.sort(key=written_at, reverse=True)  # not by step: a second training begins again at 1
    for path in older[max(limit - len(kept), 0) :] if limit else []:
        gone = path.with_name(GONE + path.name)  # renamed first: half a checkpoint must not look like one
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
