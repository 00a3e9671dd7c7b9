"""Describes a reward's options for people: default, type and range of each, from the model that checks them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def described_options(options: type[BaseModel]) -> dict[str, str]:
    """Return a description of each option, such as `required, integer, at least 1`."""
    schema = options.model_json_schema()["properties"] if options.model_fields else {}
    return {
        name: ", ".join(["required" if field.is_required() else repr(field.default), *allowed(schema[name])])
        for name, field in options.model_fields.items()
    }


def allowed(schema: dict[str, Any]) -> list[str]:
    """Return the type and range of a JSON schema in words."""
    forms = schema.get("anyOf") or schema.get("oneOf")
    if forms:
        return [" or ".join(" ".join(allowed(one)) for one in forms)]
    if "$ref" in schema:
        return ["a mapping"]
    if "enum" in schema:
        return [f"one of {' | '.join(map(str, schema['enum']))}"]
    bounds = [f"{words} {schema[key]}" for key, words in BOUNDS.items() if key in schema]
    return [str(schema["type"]), *bounds] if "type" in schema else bounds


def recipe_line(name: str, options: dict[str, str]) -> str:
    """Return the line that adds a reward to a recipe, with its required options."""
    required = ", ".join(f"{option}: ..." for option, text in options.items() if text.startswith("required"))
    return f"- {{name: {name}, weight: 1.0{f', options: {{{required}}}' if required else ''}}}"
