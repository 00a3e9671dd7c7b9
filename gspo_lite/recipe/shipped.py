"""The recipes that are installed with the package, and finding one by path or name."""

from __future__ import annotations

from pathlib import Path

from gspo_lite.errors import UsageError, did_you_mean

PACKAGE = Path(__file__).resolve().parent.parent


def shipped_recipes() -> dict[str, Path]:
    """Recipes by name, sorted; in a clone they are in `recipes/` beside the package."""
    installed = PACKAGE / "shipped_recipes"
    folder = installed if installed.is_dir() else PACKAGE.parent / "recipes"
    return {path.stem: path for path in sorted(folder.rglob("*.yaml"))}


def find_recipe(reference: str) -> Path:
    """The file behind a path or a shipped name.

    Raises:
        UsageError: where there is neither, with the nearest name.
    """
    path = Path(reference).expanduser()
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if reference.removesuffix(".yaml") in shipped:
        return shipped[reference.removesuffix(".yaml")]
    if path.is_dir():
        raise UsageError(f"`{reference}` is a folder; name a recipe", f"shipped recipes: {', '.join(shipped)}")
    message = f"there is no recipe `{reference}`{did_you_mean(path.stem, shipped)}"
    raise UsageError(message, f"shipped recipes: {', '.join(shipped)}")


def headline(path: Path) -> str:
    """The first comment line of a recipe: what it does."""
    with path.open(encoding="utf-8") as file:
        return file.readline().strip().lstrip("# ")
