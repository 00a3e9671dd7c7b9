"""Copies a shipped recipe, comments included, to a file that the user can edit. Standard library only."""

from __future__ import annotations

import re
from pathlib import Path

from gspo_lite.errors import UsageError, did_you_mean
from gspo_lite.recipe.shipped import shipped_recipes

COMMAND = re.compile(r"(gspo-lite \w+ )recipes/\w+\.yaml")


def copy_recipe(name: str, target: Path | None) -> Path:
    """Copy a shipped recipe and return the new file, which its commands and its run folder are named after.

    Args:
        target: the new file, or a folder for it; `NAME.yaml` in the current folder if left out.

    Raises:
        UsageError: the name is unknown, or the file exists or cannot be written.
    """
    shipped, name = shipped_recipes(), name.removesuffix(".yaml")
    if name not in shipped:
        message = f"there is no shipped recipe `{name}`{did_you_mean(name, shipped)}"
        raise UsageError(message, f"shipped recipes: {', '.join(shipped)}")
    path = Path(f"{name}.yaml") if target is None else target / f"{name}.yaml" if target.is_dir() else target
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"`{path}` does not end in .yaml, as a recipe must")
    text = COMMAND.sub(lambda match: f"{match[1]}{path}", shipped[name].read_text(encoding="utf-8"))
    text = text.replace(f"dir: runs/{name}\n", f"dir: runs/{path.stem}\n")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"`{path}` exists; nothing was changed", "name another file") from None
    except OSError as error:
        raise UsageError(f"`{path}` cannot be written: {error.strerror}") from error
    return path
