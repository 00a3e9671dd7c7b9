"""Tools that hang, raise, talk too much or send terminal codes: bounded, counted, and told the model."""

import asyncio
import threading
import time

import pytest

from gspo_lite.system import redaction
from gspo_lite.tools.guarded import CUT, Episode, Limits, ToolError, figures_of


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


def test_content_blocks_are_passed_on_as_they_are():
    blocks = [{"type": "text", "text": "a"}]
    assert call(lambda: blocks) == blocks


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        (add, {"a": "2", "b": 3}, "TypeError: can only concatenate"),
        (add, {}, "missing a required argument: 'a'"),
        (add, {"a": 1, "c": 2}, "got an unexpected keyword argument 'c'"),
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
