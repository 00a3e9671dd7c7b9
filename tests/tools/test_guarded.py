"""Tools that hang, raise, talk too much or send terminal codes: bounded, counted, and told the model."""

import asyncio
import os
import signal
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest

from gspo_lite.system import redaction
from gspo_lite.tools.guarded import Episode, Limits, ToolError, figures_of
from gspo_lite.tools.results import CUT


def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


async def add_later(a: int) -> int:
    await asyncio.sleep(0)
    return a + 1


def hang(seconds: float = 60.0) -> None:
    time.sleep(seconds)


def leave() -> None:
    raise SystemExit(3)


def shout() -> str:
    return "\x1b[2J\x07red\x9b31m\nsecond line\t!"


def call(tool, episode=None, **arguments):
    episode = episode or Episode()
    return episode.held({"tool": tool})["tool"](**arguments)


def told(tool, episode=None, **arguments):
    """What the model is told of a call that fails."""
    with pytest.raises(ToolError) as error:
        call(tool, episode, **arguments)
    return str(error.value)


def test_a_result_is_told_as_text():
    assert call(add, a=2, b=3) == "5"
    assert call(add_later, a=2) == "3"
    assert call(lambda: None) == "None"


def test_content_blocks_reach_a_model_that_sees_images():
    image = {"type": "image", "image": object()}
    blocks = [{"type": "text", "text": "a\x1b"}, image]
    assert call(lambda: blocks, Episode(sees_images=True)) == [{"type": "text", "text": "a "}, image]
    assert call(lambda: blocks[:1] * 2) == "a a "
    assert told(lambda: blocks) == "ValueError: the tool returned an image, which this model cannot see"


class Odd:
    def __str__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"\xff", "b'\\xff'"),
        ({"a": None}, "{'a': None}"),
        ([1, "a"], "[1, 'a']"),
        ([{"word": "a"}], "[{'word': 'a'}]"),
        ([], "[]"),
        (float("nan"), "nan"),
        ("half \ud800 a pair, \x00", "half   a pair,  "),
        (Decimal("1.50"), "1.50"),
    ],
)
def test_any_value_is_told_as_text(value, text):
    assert call(lambda: value) == text


def test_a_value_that_cannot_be_told_is_an_error():
    assert told(lambda: Odd()) == "RuntimeError: no"


def deep():
    return deep()


def out_of_memory():
    raise MemoryError


def interrupted():
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        (deep, "RecursionError: maximum recursion"),
        (out_of_memory, "MemoryError: "),
        (interrupted, "KeyboardInterrupt: "),
        (lambda: next(iter(())), "StopIteration: "),
        (lambda: (_ for _ in ()).throw(GeneratorExit), "GeneratorExit: "),
        (lambda: exec("raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})"), "E"),
        (lambda: int("x" * 10_000), "ValueError: invalid literal"),
    ],
)
def test_whatever_a_tool_raises_is_told(tool, message):
    text = told(tool)
    assert text.startswith(message)
    assert len(text) < 2_100


def test_ctrl_c_ends_a_tool_that_the_main_thread_calls():
    with pytest.raises(KeyboardInterrupt):
        call(interrupted, Episode(Limits(timeout=None)))


def test_a_tool_that_needs_the_main_thread_has_no_timeout():
    def listens():
        return signal.signal(signal.SIGUSR1, signal.SIG_DFL)

    assert "signal only works in main thread" in told(listens)
    assert call(listens, Episode(Limits(timeouts={"tool": None}))) == str(signal.SIG_DFL)
    assert call(lambda: asyncio.run(add_later(1))) == "2"


def test_a_tool_cannot_move_the_run_to_another_folder(tmp_path):
    before = Path.cwd()
    call(lambda: os.chdir(tmp_path))
    assert Path.cwd() == before


def test_every_call_is_counted_even_if_no_tool_is_reached():
    episode = Episode()
    tools = episode.held({"add": add})
    assert "\x1bnone" in tools
    with pytest.raises(ToolError, match=r"^Tool  none not found\.$"):
        tools["\x1bnone"]
    with pytest.raises(TypeError, match="must be a mapping"):  # as TRL calls it with arguments that are no object
        tools["add"](**[1, 2])
    tools["add"](a=1)
    assert [(one.name, one.end) for one in episode.calls] == [(" none", "error"), ("add", "error"), ("add", "done")]


def test_what_an_environment_earned_is_noted_after_each_call():
    earned = []
    episode = Episode(Limits(timeouts={"hang": 0.05}), earned=lambda: len(earned), earned_before=0)
    tools = episode.held({"earn": lambda: earned.append(1.0), "hang": lambda: (earned.append(1.0), hang())})
    tools["earn"]()
    with pytest.raises(ToolError):
        tools["none"]
    tools["earn"]()
    with pytest.raises(ToolError):
        tools["hang"]()
    assert [one.earned for one in episode.calls] == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        (add, {"a": "2", "b": 3}, "TypeError: can only concatenate"),
        (add, {}, "TypeError: add() missing 1 required positional argument: 'a'"),
        (add, {"a": 1, "c": 2}, "TypeError: add() got an unexpected keyword argument 'c'"),
        (leave, {}, "SystemExit: 3"),
        (lambda: 1 / 0, {}, "ZeroDivisionError: division by zero"),
    ],
)
def test_an_error_is_told_the_model_and_counted(tool, arguments, message):
    episode = Episode()
    assert message in told(tool, episode, **arguments)
    assert [one.end for one in episode.calls] == ["error"]


@pytest.mark.parametrize("tool", [hang, lambda: asyncio.sleep(60)])
def test_a_tool_that_hangs_is_left_behind(tool):
    episode, start = Episode(Limits(timeout=0.1)), time.perf_counter()
    assert told(tool, episode) == "it did not return within 0.1 seconds"
    assert time.perf_counter() - start < 5
    assert episode.is_late
    assert all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())


def test_a_tool_may_have_a_timeout_of_its_own():
    episode = Episode(Limits(timeout=60, timeouts={"tool": 0.1}))
    assert told(hang, episode) == "it did not return within 0.1 seconds"
    threads = []
    call(lambda: threads.append(threading.current_thread()), Episode(Limits(timeouts={"tool": None})))
    assert threads == [threading.main_thread()]


def test_a_long_result_is_cut_off():
    episode = Episode(Limits(longest=10))
    assert call(lambda: "x" * 1_000_000, episode) == "x" * 10 + CUT
    assert [one.end for one in episode.calls] == ["cut"]


def test_terminal_codes_do_not_get_through():
    assert call(shout) == " [2J red 31m\nsecond line\t!"


def test_a_secret_in_an_error_or_result_is_masked(monkeypatch):
    monkeypatch.setenv("SEARCH_API_KEY", "abcdefgh12345678")
    assert told(lambda: {}["abcdefgh12345678"]) == f"KeyError: '{redaction.MASK}'"
    assert call(lambda: "key abcdefgh12345678") == f"key {redaction.MASK}"
    assert call(lambda: "key abcdefgh12345678", Episode(Limits(longest=9))) == f"key {redaction.MASK}" + CUT[:0]


def test_an_episode_has_so_many_calls_of_all_its_tools():
    episode = Episode(Limits(calls=2))
    tools = episode.held({"add": add, "now": lambda: "noon"})
    tools["add"](a=1)
    tools["now"]()
    with pytest.raises(ToolError, match="no more than 2 calls"):
        tools["add"](a=1)
    assert [one.end for one in episode.calls] == ["done", "done", "refused"]


def test_a_tool_cannot_change_its_arguments_for_others():
    given = {"items": [1, 2]}
    call(lambda items: items.clear(), **given)
    assert given == {"items": [1, 2]}


def test_a_held_tool_is_described_as_the_tool_itself():
    held = Episode().held({"add": add})["add"]
    assert (held.__name__, held.__doc__) == ("add", "Add.")


def test_figures_of_a_rollout():
    first, second = Episode(), Episode(Limits(timeout=0.05))
    call(add, first, a=1)
    told(leave, first)
    told(hang, second, seconds=1.0)
    figures = figures_of([first, second])
    assert figures["tools/calls_per_episode"] == 1.5
    assert {name: figures[f"tools/{name}"] for name in ("error", "late", "cut", "refused")} == {
        "error": 1 / 3, "late": 1 / 3, "cut": 0.0, "refused": 0.0,
    }  # fmt: skip
    assert figures_of([])["tools/calls_per_episode"] == 0
