"""Writes recipes as YAML, secrets masked: a resolved one with every field, or one in the making with comments."""

from __future__ import annotations

import io
from typing import Any

from pydantic import BaseModel

from gspo_lite.recipe.schema import Recipe
from gspo_lite.system.redaction import redact_values


def to_yaml(recipe: Recipe, comment: str) -> str:
    """Return the recipe as YAML under a comment line; `load_recipe` reads the same recipe from it."""
    return written(redact_values(recipe.model_dump(mode="json")), comment)


def with_comments(values: dict[str, Any], heading: str, comments: dict[str, str]) -> str:
    """Return values as YAML in the order of the schema, with a comment above the key of each place that has one."""
    from ruamel.yaml.comments import CommentedMap

    def section(inner: dict[str, Any], model: type[BaseModel], place: str, depth: int) -> CommentedMap:
        made = CommentedMap()
        for name in sorted(inner, key=list(model.model_fields).index):
            value, kind = inner[name], model.model_fields[name].annotation
            if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, BaseModel):
                value = section(value, kind, f"{place}{name}.", depth + 1)
            made[name] = value
            if f"{place}{name}" in comments:
                made.yaml_set_comment_before_after_key(name, before=comments[f"{place}{name}"], indent=2 * depth)
        return made

    return written(section(redact_values(values), Recipe, "", 0), heading)


def written(values: Any, comment: str) -> str:
    """Return values as YAML under a comment."""
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(values, text)
    return f"# {comment}\n{text.getvalue()}"
