"""Compares the table of names that training needs (`hooks.py`) with what is installed."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pkgutil import resolve_name
from types import CellType, CodeType, FunctionType
from typing import Any

from gspo_lite.errors import MachineError
from gspo_lite.system.environment import installed
from gspo_lite.training.hooks import GENERATED, HOOKS, PACKAGES, TRAINER, Hook


def check_hooks(trainer_class: type, trainer: Any = None) -> None:
    """Refuse an installation in which a name of the table is absent, changed or no longer used.

    Args:
        trainer_class: `GSPOTrainer`, whose bases are what is installed.
        trainer: one of that class once TRL has built it, to look at its attributes as well.

    Raises:
        MachineError: with all such names and what each is for.
    """
    classes = trainer_class.__mro__
    live = classes[max(i for i, one in enumerate(classes) if one.__module__.startswith("gspo_lite.")) + 1]
    path = "TRL" if live.__module__.startswith("trl.") else "Unsloth"
    lines = [
        f"`{hook.owner.rpartition(':')[2]}.{name}` {what}; it is needed to {hook.why}"
        for hook in HOOKS
        if hook.path in ("", path)
        for name, what in faults(hook, live, owner_of(hook, live), trainer)
    ]
    if lines:
        versions = ", ".join(f"{name} {installed(name) or 'not installed'}" for name in PACKAGES)
        raise MachineError(
            "\n  ".join([f"training cannot hook into the installed versions ({versions}):", *lines]),
            "install the versions that were tested, or open an issue with this message",
        )


def owner_of(hook: Hook, live: type) -> Any:
    """Return what the names of a hook belong to; None where it is gone."""
    with suppress(ImportError, AttributeError):
        return {TRAINER: live, GENERATED: sys.modules[live.__module__]}.get(hook.owner) or resolve_name(hook.owner)


def faults(hook: Hook, live: type, owner: Any, trainer: Any) -> Iterator[tuple[str, str]]:
    """Yield each name of a hook that is not as it should be, and what is wrong with it."""
    known = None if owner is live else vocabulary(owner)
    for name in hook.names.split():
        member: Any = getattr(owner, name, None)
        if hook.kind in ("overridden", "called", "written"):
            there = callable(member)
        elif known is not None:
            there = name in known
        else:
            there = hook.kind != "read" or trainer is None or hasattr(trainer, name)
        if not there:
            yield name, "is not there"
        elif hook.kind == "written":
            held = [cell.cell_contents for cell in member.__closure__ or ()]  # what a wrapper of Unsloth's wraps
            written = [one for one in (member, *held) if isinstance(one, FunctionType)]
            if not any(re.match(hook.takes, inspect.getsource(one), re.DOTALL) for one in written):
                yield name, "is written in another order"
        elif hook.takes and not accepts(member, hook.takes.split()):
            yield name, f"no longer takes `{hook.takes}`"
        for user in hook.user.split():
            if name not in words(*run_by(live, user)):
                yield name, f"is no longer used by `{user}`"


def accepts(function: Any, takes: list[str]) -> bool:
    """Return whether these are a function's first parameters, as far as it names them."""
    parameters = [one for one in inspect.signature(function).parameters.values() if one.name != "self"]
    names = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        takes = takes[: len(names)]
    return names[: len(takes)] == takes


def run_by(live: type, name: str) -> Iterator[Any]:
    """Yield the method that a call of this name runs, and those behind it that it hands on to."""
    for method in (vars(one)[name] for one in live.__mro__ if name in vars(one)):
        yield method
        if "super" not in words(method):
            return


def vocabulary(owner: Any) -> set[str]:
    """Return the words of a function; of a class those of its methods, its attributes and its fields."""
    held = [member for one in getattr(owner, "__mro__", ()) for member in vars(one).values()]
    return words(owner, *held, *dir(owner), *getattr(owner, "__dataclass_fields__", ()))


def words(*things: Any) -> set[str]:
    """Return the names and strings in the code of functions, and in what they wrap or hold."""
    found: set[str] = set()
    waiting, seen = list(things), set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            found.add(one)
        elif isinstance(one, tuple):
            waiting += one
        elif isinstance(one, CodeType):
            found.update(one.co_names)
            waiting += one.co_consts
        elif isinstance(one, FunctionType) and one not in seen:
            seen.add(one)
            held = [cell.cell_contents for cell in one.__closure__ or () if cell != CellType()]
            waiting += [one.__code__, vars(one).get("__wrapped__"), *held]
    return found
