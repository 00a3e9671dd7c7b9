"""Tools and environments imported for a run: limits by name, one module for a file, and clear errors."""

import hashlib

import pytest

from gspo_lite import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.system import redaction
from gspo_lite.tools.load import load_tools

CODE = '''
import os
CALLS = []

def note(text: str) -> int:
    """Note a text.

    Args:
        text: what
    """
    CALLS.append(text)
    return len(CALLS)

class Notes:
    def reset(self, **row):
        pass

    def read(self) -> str:
        """Read all notes."""
        return " ".join(CALLS)

class Broken:
    def __init__(self):
        raise LookupError("no server " + os.environ["SEARCH_API_KEY"])

    def reset(self, **row):
        pass

def make():
    return Notes()

class Callable:
    def __call__(self, a: int):
        """Call."""

tool = Callable()
'''


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CODE)
    return lambda *sets: load_tools(load_recipe("quickstart", sets).recipe)


def test_what_stands_in_one_file_shares_its_variables(load):
    tools = load("tools=[mine.py:note]", "environment=mine.py:Notes")
    tools.functions[0]("hello")
    assert tools.environment().read() == "hello"
    digest = hashlib.sha256(CODE.encode()).hexdigest()
    assert tools.sha256 == {"note": digest, "Notes": digest}


def test_limits_are_those_of_the_recipe(load):
    tools = load(
        "tools=[{name: mine.py:note, timeout: 2}]", "generation.max_tool_calls=3", "generation.tool_timeout=null"
    )
    assert (tools.limits.calls, tools.limits.timeout, tools.limits.seconds_for("note")) == (3, None, 2.0)


def test_several_environments_have_their_names(load):
    tools = load("environment={a: mine.py:Notes, b: mine.py:make}")
    assert list(tools.environment) == ["a", "b"]
    assert not load("training.max_steps=1")


def test_an_environment_that_cannot_be_made_is_named_with_its_line_and_without_secrets(load, monkeypatch):
    monkeypatch.setenv("SEARCH_API_KEY", "abcdefgh12345678")
    with pytest.raises(UsageError) as error:
        load("environment=mine.py:Broken").environment()
    shown = redaction.redact(str(error.value))
    assert shown.startswith("environment `mine.py:Broken` cannot be made: mine.py:24: LookupError: no server ")
    assert "abcdefgh12345678" not in shown


@pytest.mark.parametrize(
    ("sets", "problem"),
    [
        (["tools=[mine.py:tool]"], "tool `mine.py:tool` is a Callable, not a function"),
        (["environment=mine.py:CALLS"], "environment `mine.py:CALLS` is a list, not a class"),
        (["environment=no_such_module:Game"], "environment `no_such_module:Game`: there is no module"),
        (["environment=collections:Counter", "rewards=[]"], "nothing pays"),
    ],
)
def test_what_turns_out_wrong_when_it_is_imported_is_refused(load, sets, problem):
    with pytest.raises(UsageError) as error:
        load(*sets)
    assert problem in str(error.value)


def test_environments_may_pay(load):
    assert not load("environment=mine.py:Notes").pays
    assert load("environment=mine.py:make").pays  # only a call of it could tell
