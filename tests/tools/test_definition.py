"""Tools and environments read from their files: what a model could not be told of is named with its line."""

import pytest

from gspo_lite.tools.definition import environment_problems, tool_problems

GOOD = '''
import os

def look_up(word: str, limit: int = 3) -> str:
    """Look a word up.

    Args:
        word: what to look for
        limit (int, optional): how many entries to return

    Returns:
        The entries.
    """
    raise SystemExit(os.getcwd())

async def later(word: str) -> str:
    """Look a word up, later.

    Args:
        word: what to look for
    """

def now() -> str:
    """Tell the time."""

alias = look_up

class Hunt:
    """A hunt."""

    def __init__(self):
        self.place = 0

    def reset(self, **row):
        return "go"

    def move(self, steps: int) -> str:
        """Move.

        Args:
            steps: how far
        """

    def get_reward(self):
        return 1.0

    def _hidden(self, anything):
        pass
'''


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "mine.py"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("name", ["look_up", "later", "now", "alias"])
def test_a_tool_with_hints_and_a_docstring_passes_without_being_run(file, name):
    assert tool_problems(f"{file(GOOD)}:{name}") == []


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        ("def f(a: str): pass", ":1: `f` has no docstring"),
        ("def f(a): 'Do.\\n\\nArgs:\\n    a: x'", ":1: `f`: the parameter `a` has no type hint"),
        ("def f(a: str): 'Do.'", ":1: `f`: the docstring does not describe `a` under `Args:`"),
        ("def f(a: str, b: int): 'Do.\\n\\nArgs:\\n    a: b: x'", "does not describe `b`"),
        ("def f(**a): 'Do.'", "takes arguments that have no name"),
        ("def f(*a): 'Do.'", "takes arguments that have no name"),
        ("def f(a, /): 'Do.'", "takes arguments that have no name"),
        ("def g(): 'Do.'", "has no `f`; it has g"),
        ("def ff(): 'Do.'", "has no `f`; did you mean `ff`?"),
        ("class f: pass", "`f` is a class; a tool is a function"),
        ("def f(:", ":1: invalid syntax"),
    ],
)
def test_what_a_model_could_not_be_told_of_is_named(file, definition, problem):
    assert problem in "\n".join(tool_problems(f"{file(definition)}:f"))


@pytest.mark.parametrize(
    "text", ["from os import *", "from os import path as f", "if 1:\n    def f(): pass", "f = print"]
)
def test_a_name_from_elsewhere_is_known_only_when_it_is_imported(file, text):
    assert tool_problems(f"{file(text)}:f") == []
    assert tool_problems("some_module:f") == []


def test_a_file_or_name_that_is_not_there_is_refused(tmp_path):
    assert tool_problems(f"{tmp_path}/no.py:f") == [f"there is no file `{tmp_path}/no.py`"]
    assert "is not of the form" in tool_problems("no_colon")[0]


def test_an_environment_with_reset_and_described_methods_passes(file):
    assert environment_problems(f"{file(GOOD)}:Hunt") == []


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("class E:\n    def go(self): 'Go.'", [":1: `E` has no method `reset(self, **row)`"]),
        ("class E:\n    def reset(self): pass\n    def go(self, a: int): 'Go.'", [":3: `go`: the docstring does not"]),
        ("class E(Base):\n    pass", []),
        ("def E(): return 1", []),
        ("class F: pass", ["has no `E`"]),
    ],
)
def test_what_keeps_a_class_from_being_an_environment_is_named(file, text, problems):
    found = environment_problems(f"{file(text)}:E")
    assert len(found) == len(problems)
    assert all(problem in one for problem, one in zip(problems, found, strict=True))
