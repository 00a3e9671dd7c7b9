"""The tools of a recipe: functions that a model may call, and the environments whose methods it may call."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from gspo_lite.errors import Place
from gspo_lite.recipe.fields import PositiveFloat, Settings, Text


class ToolSettings(Settings):
    """A function that the model may call."""

    name: Text = Field(description="`module:function` or `file.py:function`.")
    timeout: PositiveFloat | None = Field(None, description="Seconds for a call; null is generation.tool_timeout.")


def from_name(value: Any) -> Any:
    """Return a tool that is given by its name alone as one without settings of its own."""
    return {"name": value} if isinstance(value, str) else value


Tool = Annotated[ToolSettings, BeforeValidator(from_name, json_schema_input_type=Text | ToolSettings)]
Environment = Text | dict[str, Text]


def environment_place(name: str | None) -> Place:
    """Return the key of an environment in the recipe."""
    return ("environment",) if name is None else ("environment", name)
