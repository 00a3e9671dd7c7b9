"""Reads the definition of a tool or an environment without running its file, for `gspo-lite check`.

A model is told of a tool by its signature and its docstring in Google's style, as transformers' `get_json_schema` reads
them. What that would refuse is refused here with its line, before anything is loaded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from symtable import symtable

from gspo_lite.errors import did_you_mean
from gspo_lite.system.imports import code_problem

RESET, REWARD, TURN_REWARDS = "reset", "get_reward", "get_turn_rewards"
PAYING = (REWARD, TURN_REWARDS)
OWN = (RESET, *PAYING)  # methods of an environment that the model is not told of
ARGUMENTS = re.compile(r"\n\s*Args:\n(.*?)(?:\n\s*(?:Returns|Raises):|\Z)", re.DOTALL)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def tool_problems(name: str) -> list[str]:
    """Return what keeps `file.py:function` from being a tool; a module's is known only when it is imported."""
    found, problem = definition_of(name)
    if isinstance(found, ast.ClassDef):
        return [f"{place(name, found)}: `{found.name}` is a class; a tool is a function. Name it as `environment`"]
    return [problem] if problem else [*function_problems(name, found)] if found else []


def environment_problems(name: str) -> list[str]:
    """Return what keeps `file.py:Class` from being an environment; a module's is known only when it is imported."""
    found, problem = definition_of(name)
    if problem or found is None:
        return [problem] if problem else []
    if not isinstance(found, ast.ClassDef):  # a function that makes one; its class is known when it is called
        return []
    if found.bases:  # methods may be inherited from code that is not read here
        return [*method_problems(name, found)]
    methods = {one.name for one in functions(found.body)}
    missing = [] if RESET in methods else [f"{place(name, found)}: `{found.name}` has no method `reset(self, **row)`"]
    return [*missing, *method_problems(name, found)]


def methods_of(name: str) -> list[str]:
    """Return the names of the methods of `file.py:Class` that a model can call, as far as the file shows them."""
    found, _ = definition_of(name)
    if not isinstance(found, ast.ClassDef):
        return []
    return [one.name for one in functions(found.body) if one.name not in OWN and not one.name.startswith("_")]


def pays(name: str) -> bool | None:
    """Return whether `file.py:Class` says itself what an episode was worth; None where only an import can tell."""
    found, _ = definition_of(name)
    if not isinstance(found, ast.ClassDef):
        return None
    own = {one.name for one in functions(found.body)}
    return bool(own & set(PAYING)) or (None if found.bases else False)


def method_problems(name: str, found: ast.ClassDef) -> Iterator[str]:
    """Yield what is wrong with the methods of a class that a model can call."""
    for method in functions(found.body):
        if method.name not in OWN and not method.name.startswith("_"):
            yield from function_problems(name, method, of_class=True)


def function_problems(name: str, found: Definition | None, *, of_class: bool = False) -> Iterator[str]:
    """Yield what a model could not be told of a function."""
    assert isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef)
    shown, given = f"{place(name, found)}: `{found.name}`", found.args
    parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs][1 if of_class else 0 :]
    if given.vararg or given.kwarg or given.posonlyargs:
        yield f"{shown} takes arguments that have no name; a model gives every argument by its name"
    docstring = ast.get_docstring(found)
    if not docstring:
        yield f"{shown} has no docstring; it is what a model is told of the tool"
        return
    block = ARGUMENTS.search("\n" + docstring)
    for parameter in parameters:
        if parameter.annotation is None:
            yield f"{shown}: the parameter `{parameter.arg}` has no type hint, as in `{parameter.arg}: str`"
        if block is None or not re.search(rf"^\s*{re.escape(parameter.arg)}\s*(\(.*?\))?\s*:", block[1], re.MULTILINE):
            yield f"{shown}: the docstring does not describe `{parameter.arg}` under `Args:`"


def definition_of(name: str) -> tuple[Definition | None, str | None]:
    """Return the definition that `file.py:name` points to, or what is wrong; neither where only an import can tell."""
    wrong = code_problem(name)
    home, _, wanted = name.rpartition(":")
    if wrong or not home.endswith(".py"):
        return None, wrong
    try:
        text = Path(home).expanduser().read_bytes().decode()
        body, table = ast.parse(text).body, symtable(text, home, "exec")
    except SyntaxError as error:
        return None, f"{home}:{error.lineno}: {error.msg}"
    except (OSError, ValueError) as error:
        return None, f"`{home}` cannot be read: {error}"
    bound = [one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()]
    there = {one.name: one for one in body if isinstance(one, Definition)}
    if "." in wanted or wanted in bound or takes_all(body):
        return there.get(wanted), None
    return None, f"`{home}` has no `{wanted}`{did_you_mean(wanted, bound)}; it has {', '.join(there) or 'no functions'}"


def functions(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the functions that are defined in a body."""
    return [one for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]


def takes_all(body: list[ast.stmt]) -> bool:
    """Return whether a file has a star import, after which any name may be there."""
    return any(alias.name == "*" for one in body if isinstance(one, ast.ImportFrom) for alias in one.names)


def place(name: str, found: Definition) -> str:
    """Return file and line of a definition."""
    return f"{name.rpartition(':')[0]}:{found.lineno}"
