"""Recipes that are installed with the package, and the search for one by path or name."""

from __future__ import annotations

from pathlib import Path

from gspo_lite.errors import UsageError, did_you_mean

PACKAGE = Path(__file__).resolve().parent.parent


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes by name, sorted; in a clone they are in `recipes/` beside the package."""
    installed = PACKAGE / "shipped_recipes"
    folder = installed if installed.is_dir() else PACKAGE.parent / "recipes"
    return {path.stem: path for path in sorted(folder.rglob("*.yaml"))}


def find_recipe(reference: str) -> Path:
    """Return the file of a path or a shipped name; raise UsageError with the nearest name if there is neither."""
    path = Path(reference).expanduser()
    if path.is_file():
        return path
    shipped, name = shipped_recipes(), reference.removesuffix(".yaml")
    if name in shipped:
        return shipped[name]
    missing = f"there is no recipe `{reference}`{did_you_mean(path.stem, shipped)}"
    message = f"`{reference}` is a folder, not a recipe" if path.is_dir() else missing
    raise UsageError(message, f"shipped recipes: {', '.join(shipped)}")


def headline(path: Path) -> str:
    """Return the first comment line of a recipe, which says what it does."""
    with path.open(encoding="utf-8") as file:
        return file.readline().strip().lstrip("# ")
