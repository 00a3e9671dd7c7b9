"""Imports the tools and environments of a recipe, when a run starts and not before, and holds what a trainer needs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from gspo_lite.errors import UsageError
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system.imports import FAULTS, Code, load_code, located
from gspo_lite.tools.definition import PAYING
from gspo_lite.tools.guarded import Limits

Environments = Callable[[], Any] | dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Tools:
    """What a model may call in a run.

    Attributes:
        functions: tools of every conversation.
        environment: makes an environment, as TRL's `environment_factory`; or several do by name. None without one.
        pays: whether an environment may say what a conversation was worth, by `get_reward`.
        limits: of the calls in one conversation.
        sha256: hash of the file of each function and environment, by its name.
    """

    functions: list[Callable[..., Any]] = field(default_factory=list)
    environment: Environments | None = None
    pays: bool = False
    limits: Limits = field(default_factory=Limits)
    sha256: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.functions) or self.environment is not None


NO_TOOLS = Tools()


def load_tools(recipe: Recipe) -> Tools:
    """Return the tools and environments of a recipe.

    Raises:
        UsageError: the code cannot be imported, or cannot be called by a model.
    """
    files: dict[Path, ModuleType] = {}
    tools = {tool.name: load_code(tool.name, "tool", files) for tool in recipe.tools}
    made = {name: load_code(code, "environment", files) for name, code in recipe.environments.items()}
    for name, code in tools.items():
        refuse_no_function(name, code.found)
    if not recipe.rewards and not any(may_have(code.found, *PAYING) for code in made.values()):
        raise UsageError("nothing pays: the recipe has no rewards, and its environment no `get_reward`")
    factories = {key: factory(recipe.environments[key], code) for key, code in made.items()}
    named = tools | {recipe.environments[key]: code for key, code in made.items()}
    settings, own = recipe.generation, {tool.name: tool.timeout for tool in recipe.tools if tool.timeout is not None}
    timeouts = {tools[name].found.__name__: seconds for name, seconds in own.items()}
    return Tools(
        functions=[code.found for code in tools.values()],
        environment=factories.get(None) or {name: one for name, one in factories.items() if name} or None,
        pays=any(may_have(code.found, PAYING[0]) for code in made.values()),
        limits=Limits(calls=settings.max_tool_calls, timeout=settings.tool_timeout, timeouts=timeouts),
        sha256={name.rpartition(":")[2]: code.sha256 for name, code in named.items() if code.sha256},
    )


def refuse_no_function(name: str, found: Any) -> None:
    """Refuse what a model cannot be told of as a function."""
    if not inspect.isroutine(found):
        hint = "name a class as `environment`" if inspect.isclass(found) else None
        raise UsageError(f"tool `{name}` is a {type(found).__name__}, not a function", hint)


def may_have(found: Any, *names: str) -> bool:
    """Return whether environments of this class have a method of these names; what a function makes may have it."""
    return not inspect.isclass(found) or any(hasattr(found, name) for name in names)


def factory(name: str, code: Code) -> Callable[[], Any]:
    """Return what makes an environment, whose errors say which one it is.

    Raises:
        UsageError: at once if the code cannot be called, or when it is called and raises.
    """
    if not callable(code.found):
        raise UsageError(f"environment `{name}` is a {type(code.found).__name__}, not a class")

    @functools.wraps(code.found, updated=())
    def made() -> Any:
        try:
            return code.found()
        except FAULTS as error:
            raise UsageError(f"environment `{name}` cannot be made: {located(error, code.file)}") from error

    return made
