"""Resolves a run folder, an adapter folder or a model to a recipe with its base model, without loading weights."""

from __future__ import annotations

from pathlib import Path

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.models.load import ADAPTER_CONFIG
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system import run_folder


def find_trained(path: str, recipe: Recipe | None) -> tuple[Recipe, Path | None]:
    """Return the recipe with the base model of `path`, and the adapter folder if there is one."""
    folder = Path(path)
    if run_folder.is_run(folder):
        recipe = recipe or load_recipe(str(folder / run_folder.RECIPE), allow_outside=True, with_data=False).recipe
        adapter = folder / run_folder.ADAPTER
        if not adapter.is_dir():
            raise UsageError(f"`{path}` has no `{run_folder.ADAPTER}/`, because its training did not finish")
        return recipe, adapter
    if recipe is None:
        raise UsageError(f"`{path}` is not a run folder, so a recipe is needed", "add --recipe NAME")
    name, adapter_folder = path, None
    if (folder / ADAPTER_CONFIG).is_file():
        name = run_folder.read_json(folder / ADAPTER_CONFIG)["base_model_name_or_path"]
        adapter_folder = folder
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": name})}), adapter_folder
