"""How a recipe, its custom code, processes and versions differ from those of a checkpoint, and which need `--force`.

Imports neither torch nor trl, so that a run can be refused before anything heavy is loaded.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from gspo_lite.errors import UsageError
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system.processes import count
from gspo_lite.system.redaction import redact_values, without_fingerprints
from gspo_lite.training.checkpoint.manifest import Checkpoint

# Keys, each with all keys below it, whose change leaves the remaining steps unchanged.
HARMLESS = (
    "output", "training.max_steps", "training.save_steps", "training.eval_steps", "training.stop_early",
    "training.guards", "training.max_unscored_rollouts", "model.gpu_memory_utilization", "generation.tool_timeout",
)  # fmt: skip
HARMLESS_OF_EACH = {"rewards": ("timeout", "on_error"), "tools": ("timeout",)}
SCHEDULES_OVER_MAX_STEPS = ("linear", "cosine")


def refuse_changes(checkpoint: Checkpoint, recipe: dict[str, Any], force: bool) -> list[str]:
    """Return lines on how the recipe differs from the one a checkpoint was trained with.

    Raises:
        UsageError: a difference would change the remaining steps, unless `force`; or the number of processes differs.
    """
    refuse_other_processes(checkpoint)
    old, new = checkpoint.needs.get("recipe"), redact_values(recipe, fingerprints=True)
    if old is None:
        return []
    old = with_later_fields(old)
    decisive = differences(without_fingerprints(old), without_fingerprints(new))  # an API key may change
    breaking = [line for place, line in decisive if not harmless(place, recipe)]
    if breaking and not force:
        raise UsageError(
            f"the recipe is not the one `{checkpoint.path}` was trained with:\n  " + "\n  ".join(breaking),
            "use the recipe.yaml of the run folder, or add --force, in Python force=True, to continue anyway",
        )
    return [line for _, line in differences(old, new)]


def with_later_fields(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return an earlier version's recipe with later fields at their defaults."""
    try:
        return Recipe.model_validate(recipe).model_dump(mode="json")
    except ValidationError:  # fields that no longer exist are a difference to show
        return recipe


def refuse_other_code(checkpoint: Checkpoint, code: dict[str, dict[str, str]], force: bool) -> None:
    """Refuse custom rewards and adapters whose files changed since the checkpoint.

    Args:
        code: sha256 of each file, by `custom_rewards` or `custom_adapter` and the name of what it defines.
        force: accept them anyway.
    """
    old = checkpoint.needs
    named = [(kind, name, digest) for kind, files in code.items() for name, digest in files.items()]
    changed = [f"`{name}`" for kind, name, digest in named if old.get(kind, {}).get(name, digest) != digest]
    if changed and not force:
        raise UsageError(
            f"the file of {', '.join(changed)} changed since `{checkpoint.path}` was written",
            "add --force, in Python force=True, if the change is intended, such as the repair of a reward",
        )


def refuse_other_processes(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint of another number of processes: each keeps its own part of the rollout."""
    had = checkpoint.needs.get("processes", 1)
    if had != count():
        raise UsageError(
            f"`{checkpoint.path}` was written by {had} processes, but this run has {count()}",
            f"launch it with {had}, or start over in another folder",
        )


def version_changes(checkpoint: Checkpoint, versions: dict[str, str | None]) -> list[str]:
    """Return lines on packages whose version differs from that of the checkpoint."""
    old = checkpoint.needs.get("versions", {})
    changed = [name for name, now in versions.items() if old.get(name, now) != now]
    told = [f"{name} was {old[name] or 'not installed'}, is {versions[name] or 'not installed'}" for name in changed]
    return [f"{one}; the remaining steps may differ from an uninterrupted run's" for one in told]


def differences(old: Any, new: Any, place: str = "") -> list[tuple[str, str]]:
    """Return the key paths whose values differ, each with a line that says how."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        nested = [differences(old.get(key), new.get(key), f"{place}.{key}".lstrip(".")) for key in keys]
        return [one for inner in nested for one in inner]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        nested = [differences(a, b, f"{place}.{index}") for index, (a, b) in enumerate(zip(old, new, strict=True))]
        return [one for inner in nested for one in inner]
    return [] if old == new else [(place, f"`{place}` was {json.dumps(old)}, is {json.dumps(new)}")]


def harmless(place: str, recipe: dict[str, Any]) -> bool:
    """Return whether a change of this key leaves the remaining steps unchanged."""
    if place == "training.max_steps":
        return recipe["training"]["lr_scheduler_type"] not in SCHEDULES_OVER_MAX_STEPS
    if place.rpartition(".")[2] in HARMLESS_OF_EACH.get(place.partition(".")[0], ()):
        return True
    return any(place == known or place.startswith(known + ".") for known in HARMLESS)
