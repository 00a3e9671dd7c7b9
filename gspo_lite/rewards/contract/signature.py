"""What a reward function takes. TRL passes every argument by keyword; here a function gets those that it can take.

Owns the names of TRL's arguments, the same in TRL 1.13 to 1.16. Reads signatures only, and calls nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

BATCH = ("prompts", "completions", "completion_ids")  # one entry for each completion, like a column of the data
ENVIRONMENTS = "environments"  # passed only by a trainer that has them
LIVE = ("trainer_state", "log_extra", "log_metric", ENVIRONMENTS)  # objects of the trainer, never copied
SEEN = (*BATCH, ENVIRONMENTS)  # without one of these a function cannot know what the model wrote
Parameter = inspect.Parameter


class WithOptions(functools.partial):
    """A function with the options of a recipe, which win over columns of the same name."""


@dataclass(frozen=True)
class Signature:
    """The parameters that can be filled by name, and whether a function takes any other name as well."""

    named: tuple[Parameter, ...]
    any_name: bool
    fixed: frozenset[str] = frozenset()  # options, which nothing else may fill
    gives_function: bool = False  # as its annotation says

    @property
    def names(self) -> list[str]:
        """Names of all parameters."""
        return [parameter.name for parameter in self.named]

    @property
    def required(self) -> list[str]:
        """Names of the parameters without a default."""
        return [parameter.name for parameter in self.named if parameter.default is Parameter.empty]

    @property
    def sees_completions(self) -> bool:
        """Whether it can take what the model wrote, as a reward must."""
        named = any(name in SEEN for name in self.names)
        return named or (self.any_name and not self.gives_function)

    def arguments(self, inputs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and the keyword arguments of a call, as far as `inputs` has them."""
        inputs = {name: value for name, value in inputs.items() if name not in self.fixed}
        positional = []
        for parameter in self.named:
            if parameter.kind is not Parameter.POSITIONAL_ONLY:
                break
            if parameter.name not in inputs and parameter.default is Parameter.empty:
                break  # Python will name it
            positional.append(inputs.pop(parameter.name, parameter.default))
        if self.any_name:
            return positional, inputs
        return positional, {name: inputs[name] for name in self.names if name in inputs}


def signature_of(function: Callable[..., Any]) -> Signature | None:
    """Return what a function takes; None where Python cannot tell, as of some code written in C.

    A decorator counts as what it hides: `wrapper(*args, **kwargs)` around `f(completions, answer)` takes these two.
    """
    own = read(function, follow_wrapped=False) or read(function, follow_wrapped=True)
    hidden = hidden_by(function)
    inner = signature_of(hidden) if own is not None and own.any_name and hidden is not None else None
    if own is None or inner is None or inner.any_name or not inner.sees_completions:
        return own
    # The decorator may fill some of them itself.
    more = [one.replace(default=None) for one in inner.named if one.name not in own.names]
    return replace(own, named=(*own.named, *more), any_name=False)


def read(function: Callable[..., Any], *, follow_wrapped: bool) -> Signature | None:
    """Return the signature that Python reports."""
    try:
        found = inspect.signature(function, follow_wrapped=follow_wrapped)
    except (TypeError, ValueError):
        return None
    parameters = found.parameters.values()
    fixed = frozenset(function.keywords) if isinstance(function, WithOptions) else frozenset[str]()
    variable = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    named = tuple(one for one in parameters if one.kind not in variable and one.name not in fixed)
    any_name = any(one.kind is Parameter.VAR_KEYWORD for one in parameters)
    return Signature(named, any_name, fixed, gives_function="Callable" in str(found.return_annotation))


def hidden_by(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """Return the function that a decorator stands in front of, if it says so as `functools.wraps` does."""
    function = unwrapped(function)
    carrier = function if inspect.isroutine(function) else type(function).__call__
    hidden: Callable[..., Any] | None = getattr(carrier, "__wrapped__", None)
    return hidden


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function inside a `functools.partial`."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def name_of(function: Callable[..., Any]) -> str:
    """Return the name by which TRL logs a function: its own, or that of its class."""
    function = unwrapped(function)
    return str(getattr(function, "__name__", type(function).__name__))


def is_async_generator(function: Callable[..., Any]) -> bool:
    """Return whether a call would give an asynchronous generator, which nobody could await."""
    function = unwrapped(function)
    return inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(type(function).__call__)
