"""Imports code that a recipe names as `module:function` or `file.py:function`, and reports where it fails.

Only `load_code` runs user code. Must not know what the code is for.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from gspo_lite.errors import UsageError, did_you_mean

FAULTS = (Exception, SystemExit)  # what user code may raise without ending the process


@dataclass(frozen=True)
class Code:
    """An object that a name points to, the file that defines it, if any, and the sha256 of that file."""

    found: Any
    file: Path | None
    sha256: str | None


def is_code(name: str) -> bool:
    """Return whether a name points to code instead of a registry."""
    return ":" in name


def with_colon(name: str) -> str | None:
    """Return code named as TRL and axolotl do, `my_lib.my_reward`, as `my_lib:my_reward`; None for any other name."""
    home, _, attribute = name.rpartition(".")
    return f"{home}:{attribute}" if home and all(part.isidentifier() for part in name.split(".")) else None


def code_problem(name: str) -> str | None:
    """Return what is wrong with such a name, as far as is known without importing it."""
    home, _, function = name.rpartition(":")
    if not home or home.endswith(":") or not all(part.isidentifier() for part in function.split(".")):
        return f"`{name}` is not of the form `module:function` or `file.py:function`"
    if home.endswith(".py") and not Path(home).expanduser().is_file():
        return f"there is no file `{home}`"
    return None


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message about a name that is neither one of the `known` nor code."""
    if code := with_colon(name):
        return f"there is no {kind} `{name}`; write `{code}`"
    allowed = f"{', '.join(known)}, `module:function` or `file.py:function`"
    return f"there is no {kind} `{name}`{did_you_mean(name, known)}; allowed: {allowed}"


def load_code(name: str, kind: str, files: dict[Path, ModuleType] | None = None) -> Code:
    """Import the object that a name points to; messages call it a `kind`, such as `reward`.

    Args:
        files: modules of the files that were run already, so that what stands in one file shares its variables.

    Raises:
        UsageError: file, module or attribute is missing, or the code cannot be imported.
    """
    home, _, attribute = name.rpartition(":")
    path = Path(home).expanduser() if home.endswith(".py") else None
    files = {} if files is None else files
    if path is None:
        module = import_named(home, f"{kind} `{name}`")
    else:
        module = files[path] = files.get(path) or import_file(path, f"{kind} `{name}`")
    try:
        found = attrgetter(attribute)(module)
    except AttributeError as error:
        there = [key for key in dir(module) if not key.startswith("_") and offered(vars(module).get(key))]
        message = f"{kind} `{name}`: `{home}` has no `{attribute}`{did_you_mean(attribute, there)}"
        raise UsageError(f"{message}; it has {', '.join(there) or 'no functions'}") from error
    file = path or source_file(found, module)
    return Code(found, file, hashlib.sha256(file.read_bytes()).hexdigest() if file else None)


def offered(value: Any) -> bool:
    """Return whether a module's name is that of a function or class, or of something loaded on first use."""
    return value is None or inspect.isroutine(value) or inspect.isclass(value)


def source_file(found: Any, module: ModuleType) -> Path | None:
    """Return the file that defines an object, which may not be that of the module that exports it."""
    found = getattr(found, "function", found)  # made by `@reward`
    definition = found if inspect.isclass(found) or inspect.isroutine(found) else type(found)
    try:
        name = inspect.getsourcefile(inspect.unwrap(definition))
    except TypeError:  # written in C
        name = getattr(module, "__file__", None)
    return Path(name) if name and Path(name).is_file() else None


def import_file(path: Path, shown: str) -> ModuleType:
    """Run a file as a module."""
    if not path.is_file():
        raise UsageError(f"{shown}: there is no file `{path}`")
    specification = importlib.util.spec_from_file_location(f"gspo_lite_custom_{path.stem}", path)
    module = importlib.util.module_from_spec(specification)  # type: ignore[arg-type]
    try:
        specification.loader.exec_module(module)  # type: ignore[union-attr]
    except SyntaxError as error:
        raise UsageError(f"{shown}: {path}:{error.lineno}: {error.msg}") from error
    except FAULTS as error:
        raise UsageError(f"{shown}: {located(error, path)}") from error
    return module


def import_named(module: str, shown: str) -> ModuleType:
    """Import an installed module."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        hint = "for a file write `file.py:function`"
        raise UsageError(f"{shown}: there is no module `{error.name}`", hint) from error
    except FAULTS as error:
        raise UsageError(f"{shown}: `{module}` cannot be imported: {type(error).__name__}: {error}") from error


def located(error: BaseException, file: Path | None) -> str:
    """Return an error in one line, with the last line of `file` in its trace: `mine.py:7: KeyError: 'answer'`."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if file is not None and Path(frame.filename) == file.absolute()]
    return "".join(f"{file}:{line}: " for line in lines[-1:]) + f"{type(error).__name__}: {error}"
