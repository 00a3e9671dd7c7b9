"""Writes a resolved recipe: every field with its value, which reproduces the run without defaults; secrets masked."""

from __future__ import annotations

import io

from gspo_lite.recipe.schema import Recipe
from gspo_lite.system.redaction import redact_values


def to_yaml(recipe: Recipe, comment: str) -> str:
    """Return the recipe as YAML under a comment line; `load_recipe` reads the same recipe from it."""
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(redact_values(recipe.model_dump(mode="json")), text)
    return f"# {comment}\n{text.getvalue()}"
