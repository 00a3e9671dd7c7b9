"""What a reward logs with `log_extra` and `log_metric`: whole calls only, one value per completion, of limited size."""

import time

import numpy as np
import pytest

from gspo_lite.rewards.contract.guarded import GuardedReward, calls
from gspo_lite.rewards.contract.logged import Logged, plain

TEXTS = ["a", "bb", "ccc"]


def called(function, completions=TEXTS, **settings):
    """The call of a reward, and what a trainer heard of it."""
    heard = []
    made = GuardedReward(function, "mine", 1.0, [], **settings)
    tell = {"log_extra": lambda *said: heard.append(said), "log_metric": lambda *said: heard.append(said)}
    with calls() as told:
        made(completions=completions, **tell)
    return told[0], heard


def lengths(completions, log_extra, log_metric):
    log_extra("length", [len(text) for text in completions])
    log_metric("sum", sum(map(len, completions)))
    return [1 / (text != "bb") for text in completions]


def test_a_call_that_is_repeated_without_its_failing_rows_logs_once_with_none_for_those():
    call, heard = called(lengths, on_error="skip")
    assert call.values == [1.0, None, 1.0]
    assert call.extra == {"length": [1, None, 3]}
    assert call.metrics == {"sum": [4.0]}
    assert heard == [("length", [1, None, 3]), ("sum", 4.0)]


def test_a_call_that_is_late_logs_nothing():
    def slow(completions, log_extra):
        log_extra("length", [1] * len(completions))
        time.sleep(1)

    assert called(slow, timeout=0.05)[1] == []


def test_a_column_may_be_logged_value_by_value_and_in_any_collection():
    def one_by_one(completions, log_extra):
        for text in completions:
            log_extra("length", (len(text),))
        log_extra(column="array", values=np.array([1.5, 2.5, 3.5]))
        return [0.0] * 3

    assert called(one_by_one)[0].extra == {"length": [1, 2, 3], "array": [1.5, 2.5, 3.5]}


@pytest.mark.parametrize("count", [1, 2, 6])
def test_a_column_without_one_value_for_each_completion_is_left_out_and_named_once(caplog, count):
    def uneven(completions, log_extra):
        log_extra("good", TEXTS)
        log_extra("bad", ["x"] * count)
        return [0.0] * 3

    made = GuardedReward(uneven, "mine", 1.0, [])
    with calls() as told:
        made(completions=TEXTS)
        made(completions=TEXTS)
    assert [list(call.extra) for call in told] == [["good"], ["good"]]
    (line,) = [record.message for record in caplog.records]
    assert line.startswith(f"reward `mine` logged {count} values in the column `bad` for 3 completions")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2.5, 2.5),
        (np.float32(0.5), 0.5),
        (np.array(7), 7),
        ("text", "text"),
        ([1, "a"], "[1, 'a']"),
        ({"a": 1}, "{'a': 1}"),
        ("x" * 501, "x" * 500 + " ... (1 characters more)"),
        ("\ud800", "?"),
        (2**70, str(2**70)),
        (10**5000, "a int"),
        (type("Mute", (), {"__str__": lambda self: 1 / 0})(), "a Mute"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_logged_value_is_a_number_or_a_short_text(value, shown):
    assert plain(value) == shown
    assert type(plain(value)) is type(shown)


def test_columns_are_limited_in_number():
    logged = Logged()
    for n in range(40):
        logged.log_extra(f"{n}" * 300, ["v"])
    assert len(logged.shown()) == 16
    assert max(map(len, logged.shown())) < 540
