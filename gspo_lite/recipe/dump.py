"""Writes a resolved recipe: every field with its value, so that it reproduces the run on its own; secrets masked."""

from __future__ import annotations

import io

from gspo_lite.recipe.schema import Recipe
from gspo_lite.system.redaction import redact_values


def to_yaml(recipe: Recipe, comment: str) -> str:
    """The recipe as YAML under a comment line; `load_recipe` reads it back as the same recipe."""
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(redact_values(recipe.model_dump(mode="json")), text)
    return f"# {comment}\n{text.getvalue()}"
