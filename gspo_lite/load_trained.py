"""Resolves a run, its checkpoint, an adapter or a model to a recipe and the folder of its weights; loads none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.models.adapters import ADAPTER_CONFIG, base_of, read_config
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system import run_folder
from gspo_lite.system.say import say
from gspo_lite.training.checkpoint.manifest import by_step, fault_of, newest_complete


def run_of(path: Path) -> Path | None:
    """Return the run that a folder is or lies in, as `adapter/` and `checkpoints/checkpoint-40` do; None for others."""
    folder = path.resolve()
    places = (path, folder.parent, folder.parent.parent) if folder.exists() else ()  # a hub id lies nowhere
    return next((one for one in places if run_folder.is_run(one)), None)


def recipe_in(run: Path, overrides: Sequence[str] = (), *, allow_outside: bool = False) -> Recipe:
    """Return the recipe in a run folder, with overrides as after `--set`.

    Its `output.dir` is the run folder as it lies now, which may have been moved or copied.
    """
    file = str(run / run_folder.RECIPE)
    return load_recipe(file, overrides, output=str(run), allow_outside=allow_outside, with_data=False).recipe


def find_trained(path: str, recipe: Recipe | None) -> tuple[Recipe, Path | None]:
    """Return the recipe with the base model of `path`, and the folder with the trained weights if there are any.

    Args:
        path: a run folder, finished or not; one of its checkpoints; an adapter; a model folder or hub id.
        recipe: the recipe to use; that of the run, if left out.

    Raises:
        UsageError: nothing was saved yet, the checkpoint is not complete, or no recipe is known.
    """
    folder = Path(path)
    run = run_of(folder)
    recipe = recipe or (recipe_in(run) if run else None)
    if recipe is None:
        raise UsageError(f"`{path}` is not a run folder or part of one, so a recipe is needed", "add --recipe NAME")
    weights = weights_in(folder, recipe.training.max_steps)
    if weights is not None:
        return recipe, weights
    name, adapter = path, None
    if (folder / ADAPTER_CONFIG).is_file():
        name, adapter = base_of(read_config(folder)), folder
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": name})}), adapter


def weights_in(folder: Path, steps: int) -> Path | None:
    """Return the folder with the trained weights of a run or of one of its checkpoints; None for any other folder.

    Args:
        steps: optimizer steps of the whole run.

    Raises:
        UsageError: nothing was saved yet, or the checkpoint is not complete.
    """
    if run_folder.is_run(folder):
        return newest_weights(folder, steps)
    return whole_checkpoint(folder, steps) if is_checkpoint(folder) else None


def newest_weights(run: Path, steps: int) -> Path:
    """Return the folder of a run's finished adapter, else its newest complete checkpoint, which is said."""
    adapter, facts = run / run_folder.ADAPTER, run_folder.read_json(run / run_folder.ENVIRONMENT)
    under_way = "resumed" in facts and "seconds" not in facts  # so an adapter is that of an earlier end
    if adapter.is_dir() and not under_way:
        return adapter
    found = newest_complete(run / run_folder.CHECKPOINTS)
    for line in found.skipped:
        say(f"note     {line}")
    if found.checkpoint is not None:
        return used(found.checkpoint.path, steps)
    if adapter.is_dir():
        return adapter
    raise UsageError(
        f"`{run}` has no `{run_folder.ADAPTER}/` and no complete checkpoint: its training ended before one was saved",
        f"begin again with `gspo-lite run {run / run_folder.RECIPE} --resume`, with training.save_steps set",
    )


def is_checkpoint(folder: Path) -> bool:
    """Return whether a folder is a checkpoint of a run."""
    checkpoints = folder.resolve().parent
    return run_folder.is_run(checkpoints.parent) and folder.resolve() in [path for _, path in by_step(checkpoints)]


def whole_checkpoint(folder: Path, steps: int) -> Path:
    """Return the folder of a checkpoint that was named, which is said; refuse one that is not complete."""
    fault = fault_of(folder)
    if fault is not None:
        others = [path.name for _, path in by_step(folder.resolve().parent) if fault_of(path) is None]
        raise UsageError(f"`{folder}`: {fault}", f"complete checkpoints: {', '.join(others) or 'none'}")
    return used(folder, steps)


def used(checkpoint: Path, steps: int) -> Path:
    """Say that a checkpoint is used instead of a finished adapter, and return it."""
    name = checkpoint.resolve().name
    say(f"note     not the finished adapter: using {name}, step {step_of(checkpoint)} of {steps}")
    return checkpoint


def step_of(checkpoint: Path) -> int:
    """Return the optimizer step after which a checkpoint was saved."""
    return int(checkpoint.resolve().name.rpartition("-")[2])
