"""Finds what a run trained, or what a path names in its place, to be measured, exported or talked to.

Owns how a run folder, an adapter folder or a model becomes a recipe with the right base model. Loads no weights.
"""

from __future__ import annotations

from pathlib import Path

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.models.load import ADAPTER_CONFIG
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system import run_folder


def find_trained(path: str, recipe: Recipe | None) -> tuple[Recipe, Path | None]:
    """The recipe with the right base model in it, and the adapter folder if there is one."""
    folder = Path(path)
    if run_folder.is_run(folder):
        recipe = recipe or load_recipe(str(folder / run_folder.RECIPE), allow_outside=True).recipe
        adapter = folder / run_folder.ADAPTER
        if not adapter.is_dir():
            raise UsageError(f"`{path}` holds no `{run_folder.ADAPTER}/`: its training did not end")
        return recipe, adapter
    if recipe is None:
        raise UsageError(f"`{path}` is no run folder, so a recipe must say what to ask", "add --recipe NAME")
    name, adapter_folder = path, None
    if (folder / ADAPTER_CONFIG).is_file():
        name = run_folder.read_json(folder / ADAPTER_CONFIG)["base_model_name_or_path"]
        adapter_folder = folder
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": name})}), adapter_folder
