"""Custom rewards: `module:function` or `file.py:function`, imported when a run starts and not before."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from gspo_lite.errors import UsageError


def is_custom(name: str) -> bool:
    """Whether a reward's name points to code instead of the registry."""
    return ":" in name


def missing_custom(name: str) -> str | None:
    """What is wrong with a custom name as far as can be seen without importing it."""
    home, _, function = name.rpartition(":")
    if not home or not function.isidentifier():
        return f"`{name}` is not of the form `module:function` or `file.py:function`"
    if home.endswith(".py") and not Path(home).expanduser().is_file():
        return f"there is no file `{home}`"
    return None


def load_custom(name: str, options: dict[str, Any]) -> tuple[Callable[..., Any], str | None]:
    """Import a custom reward.

    Args:
        options: keyword arguments given to it at every call.

    Returns:
        The function, and the sha256 of the file it was read from.

    Raises:
        UsageError: when file, module or function is missing, or the code cannot be imported.
    """
    home, _, attribute = name.rpartition(":")
    path = Path(home).expanduser() if home.endswith(".py") else None
    module = import_file(path, name) if path else import_named(home, name)
    function = getattr(module, attribute, None)
    if function is None:
        there = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        raise UsageError(f"reward `{name}`: `{home}` has no `{attribute}`; it has {', '.join(there) or 'no functions'}")
    if inspect.isclass(function):
        function = function()
    if not callable(function):
        raise UsageError(f"reward `{name}` is a {type(function).__name__}, not a function")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path else None
    return (functools.partial(function, **options) if options else function), sha256


def import_file(path: Path, name: str) -> ModuleType:
    """Run a file as a module of its own."""
    if not path.is_file():
        raise UsageError(f"reward `{name}`: there is no file `{path}`")
    specification = importlib.util.spec_from_file_location(f"gspo_lite_custom_{path.stem}", path)
    module = importlib.util.module_from_spec(specification)  # type: ignore[arg-type]
    try:
        specification.loader.exec_module(module)  # type: ignore[union-attr]
    except SyntaxError as error:
        raise UsageError(f"reward `{name}`: {path}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        line = next(
            (f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(path)), 1
        )
        raise UsageError(f"reward `{name}`: {path}:{line}: {type(error).__name__}: {error}") from error
    return module


def import_named(module: str, name: str) -> ModuleType:
    """Import an installed module."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"reward `{name}`: there is no module `{error.name}`", "for a file write `file.py:function`"
        ) from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"reward `{name}`: `{module}` cannot be imported: {type(error).__name__}: {error}") from error
