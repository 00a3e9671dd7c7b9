"""What makes a checkpoint complete: its manifest, the search for the newest whole one, and how two recipes differ.

    checkpoints/checkpoint-40/manifest.json    {"step", "files": {name: {"bytes", "sha256"}}, "needs", "sha256"}
    checkpoints/.saving-.../                   being written; nothing reads it
    checkpoints/broken-checkpoint-48/          found incomplete on resuming and set aside

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

from pydantic import ValidationError

from gspo_lite.errors import UsageError
from gspo_lite.processes import count
from gspo_lite.recipe.schema import Recipe
from gspo_lite.redaction import redact_values, without_fingerprints

MANIFEST = "manifest.json"
STAGING, GONE, BROKEN = ".saving-", ".gone-", "broken-"
NAME = re.compile(r"checkpoint-(\d+)")
CHUNK = 1 << 20  # bytes read at a time

# Changes of a recipe after which the rest of the run is still what it would have been, each with all keys below it.
HARMLESS = (
    "output", "training.max_steps", "training.save_steps", "training.guards", "training.max_unscored_rollouts",
    "model.gpu_memory_utilization",
)  # fmt: skip
HARMLESS_REWARD_KEYS = ("timeout", "on_error")
SCHEDULES_OVER_MAX_STEPS = ("linear", "cosine")


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    Attributes:
        step: optimizer steps done.
        needs: what it was made with: recipe, versions, custom_rewards; empty outside a run.
    """

    path: Path
    step: int
    needs: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """The newest complete checkpoint, if any, and one line for each newer one that had to be passed over."""

    checkpoint: Checkpoint | None
    passed_over: list[str] = field(default_factory=list)


def write_manifest(folder: Path, step: int, needs: dict[str, Any]) -> int:
    """Describe every file below `folder`, put everything on the disk, and return the bytes it takes."""
    files = {str(path.relative_to(folder)): described(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    content = {"step": step, "files": files, "needs": redact_values(needs, fingerprints=True)}
    text = json.dumps({**content, "sha256": digest_of(content)}, indent=1)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    for path in [*folder.rglob("*"), folder]:
        flush(path)
    return sum(one["bytes"] for one in files.values()) + len(text)


def described(path: Path) -> dict[str, Any]:
    """Size and hash of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def digest_of(content: dict[str, Any]) -> str:
    """Hash of the manifest itself, whose step and needs are trusted as well."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def flush(path: Path) -> None:
    """Have the disk hold a file or the names in a folder before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint.

    Raises:
        ValueError: where it is missing or not as it was written, in words.
    """
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
    """What is wrong with a checkpoint, or None where every file is as it was written."""
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
    """Steps and folders of the checkpoints, newest first, whole or not."""
    found = checkpoints.iterdir() if checkpoints.is_dir() else iter(())
    named = [(NAME.fullmatch(path.name), path) for path in found if path.is_dir()]
    return sorted(((int(match.group(1)), path) for match, path in named if match), reverse=True)


def newest_complete(checkpoints: Path) -> Found:
    """The checkpoint to go on from; reads only."""
    passed_over: list[str] = []
    for step, path in by_step(checkpoints):
        fault = fault_of(path)
        if fault is None:
            manifest = read_manifest(path)
            return Found(Checkpoint(path, int(manifest["step"]), manifest["needs"]), passed_over)
        passed_over.append(f"checkpoint of step {step} passed over: {fault}")
    return Found(None, passed_over)


def tidy(checkpoints: Path, newest: Checkpoint | None) -> None:
    """Remove what a killed save or rotation left, and set newer checkpoints, all incomplete, aside."""
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


def refuse_changes(checkpoint: Checkpoint, recipe: dict[str, Any], force: bool) -> list[str]:
    """Lines on how the recipe differs from the one a checkpoint was trained with.

    Raises:
        UsageError: where a difference would make the resumed run another one than the first, unless `force`; and where
            this run has more or fewer processes.
    """
    refuse_other_processes(checkpoint)
    old, new = checkpoint.needs.get("recipe"), redact_values(recipe, fingerprints=True)
    if old is None:
        return []
    old = with_later_fields(old)
    decisive = differences(without_fingerprints(old), without_fingerprints(new))  # another key opens the same door
    breaking = [line for place, line in decisive if not harmless(place, recipe)]
    if breaking and not force:
        raise UsageError(
            f"the recipe is not the one `{checkpoint.path}` was trained with:\n  " + "\n  ".join(breaking),
            "give the recipe as it was (the run folder's recipe.yaml has it), or add --force to go on all the same",
        )
    return [line for _, line in differences(old, new)]


def with_later_fields(recipe: dict[str, Any]) -> dict[str, Any]:
    """An earlier version's recipe with the fields that came later, at their defaults: nobody changed those."""
    try:
        return Recipe.model_validate(recipe).model_dump(mode="json")
    except ValidationError:  # it has fields that are gone, which is a difference to show
        return recipe


def refuse_other_code(checkpoint: Checkpoint, rewards: dict[str, str], force: bool) -> None:
    """Refuse custom rewards whose files changed since the checkpoint.

    Args:
        rewards: sha256 of the file of each custom reward, by its name.

    Raises:
        UsageError: where one is another than it was, unless `force`.
    """
    old = checkpoint.needs.get("custom_rewards", {})
    changed = [f"`{name}`" for name, digest in rewards.items() if old.get(name, digest) != digest]
    if changed and not force:
        raise UsageError(
            f"the file of {', '.join(changed)} changed since `{checkpoint.path}` was written",
            "add --force if the change is meant, as after repairing a reward",
        )


def refuse_other_processes(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint of another number of processes: each keeps its own part of the rollout.

    Raises:
        UsageError: where this run has more or fewer.
    """
    had = checkpoint.needs.get("processes", 1)
    if had != count():
        raise UsageError(
            f"`{checkpoint.path}` was written by {had} processes, and this run has {count()}",
            f"launch it with {had}, or begin anew in another folder",
        )


def version_changes(checkpoint: Checkpoint, versions: dict[str, str | None]) -> list[str]:
    """Lines on what is installed in another version than when the checkpoint was written."""
    old = checkpoint.needs.get("versions", {})
    changed = [name for name, now in versions.items() if old.get(name, now) != now]
    told = [f"{name} was {old[name] or 'not there'}, is {versions[name] or 'not there'}" for name in changed]
    return [f"{one}; the steps to come may differ from an uninterrupted run's" for one in told]


def differences(old: Any, new: Any, place: str = "") -> list[tuple[str, str]]:
    """Key paths whose values differ, each with a line that says how."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        nested = [differences(old.get(key), new.get(key), f"{place}.{key}".lstrip(".")) for key in keys]
        return [one for inner in nested for one in inner]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        nested = [differences(a, b, f"{place}.{index}") for index, (a, b) in enumerate(zip(old, new, strict=True))]
        return [one for inner in nested for one in inner]
    return [] if old == new else [(place, f"`{place}` was {json.dumps(old)}, is {json.dumps(new)}")]


def harmless(place: str, recipe: dict[str, Any]) -> bool:
    """Whether a change of this key leaves the steps to come as they were."""
    if place == "training.max_steps":
        return recipe["training"]["lr_scheduler_type"] not in SCHEDULES_OVER_MAX_STEPS
    if place.startswith("rewards.") and place.rpartition(".")[2] in HARMLESS_REWARD_KEYS:
        return True
    return any(place == known or place.startswith(known + ".") for known in HARMLESS)
