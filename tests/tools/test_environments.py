"""Environments: a `reset` that fails is named with its row, and turn rewards find their turns."""

import time
from dataclasses import dataclass
from inspect import getmembers, ismethod

import pytest

from gspo_lite.errors import RunError, UsageError
from gspo_lite.tools.environments import Factory, count_earned, held_factories, results_of, values_by_turn
from gspo_lite.tools.guarded import Limits


class Game:
    """An environment; what it does on reset depends on the row."""

    def __init__(self):
        self.asked, self.earned = [], []

    def reset(self, task="easy", **row):
        self.asked.append(task)
        told = {"text": "go", "none": None, "blocks": [{"type": "text", "text": "go"}], "number": 7, "half": "\ud800"}
        if task == "fails":
            raise SystemExit("no board")
        if task == "hangs":
            time.sleep(60)
        return told.get(task, "easy")

    def move(self):
        """Move."""

    def get_turn_rewards(self):
        return self.earned


def test_the_first_environment_is_made_once_and_handed_out():
    made = []
    factory = Factory(lambda: made.append(Game()) or made[-1], Limits())
    assert len(made) == 1
    assert (factory.kind, factory.values_turns) == (Game, True)
    assert [factory(), factory()] == made


def test_the_model_is_told_of_moves_only():
    names = [name for name, _ in getmembers(Factory(Game, Limits())(), predicate=ismethod)]
    assert names == ["__init__", "move", "reset"]  # TRL leaves out `reset` and what begins with an underscore


@pytest.mark.parametrize("task", ["text", "none", "blocks"])
def test_a_reset_begins_the_episode(task):
    game = Factory(Game, Limits(timeouts={"reset": None} if task == "none" else {}))()
    assert game.reset(task=task, prompt="?") == Game().reset(task=task)
    assert game.asked == [task]


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ("fails", "failed: SystemExit: no board"),
        ("hangs", "did not return within 0.1 seconds"),
        ("number", "returned a int"),
        ("half", "returned a str"),
    ],
)
def test_a_reset_that_does_not_work_is_named_with_its_row(task, problem):
    game = Factory(Game, Limits(timeouts={"reset": 0.1}))()
    with pytest.raises(RunError, match=f"`reset` of the environment `Game` {problem}\n  row: task='{task}', answer=3"):
        game.reset(task=task, answer=3)


def test_a_column_that_reset_requires_is_missed_at_the_start():
    class Needy:
        def reset(self, word, *, size, hint="", **row):
            pass

    Factory(Needy, Limits()).refuse_missing(["word", "size"])
    Factory(Game, Limits()).refuse_missing([])
    for columns, missing in ((["word", "sizes"], "size"), (["words", "size"], "word")):
        with pytest.raises(UsageError, match=f"`Needy` reads the column `{missing}`; the data has `{columns[0]}`"):
            Factory(Needy, Limits()).refuse_missing(columns)


def test_several_environments_keep_their_names():
    assert held_factories(None, Limits()) == {}
    assert list(held_factories(Game, Limits())) == [None]
    assert list(held_factories({"a": Game, "b": Game}, Limits())) == ["a", "b"]


def test_an_environment_without_room_for_attributes_is_refused():
    @dataclass(slots=True)
    class Tight:
        board: int = 0

        def reset(self, **row):
            pass

    with pytest.raises(UsageError, match="`Tight` takes no attributes"):
        Factory(Tight, Limits())


def test_a_frozen_environment_is_none_the_less_held():
    @dataclass(frozen=True)
    class Frozen:
        def reset(self, **row):
            raise KeyError("x")

    with pytest.raises(RunError, match="`Frozen` failed: KeyError: 'x'"):
        Factory(Frozen, Limits())().reset()


def test_turn_rewards_are_counted_wherever_that_is_possible():
    class Other:
        get_turn_rewards = staticmethod(lambda: 1 / 0)

    game = Game()
    game.earned = [1.0, None]
    assert [count_earned(one, 1.0) for one in (game, Other(), object())] == [2, 0, 0]


def test_results_are_those_after_each_message():
    roles = ["assistant", "tool", "tool", "assistant", "tool", "assistant"]
    assert results_of([{"role": role} for role in roles]) == [2, 1, 0]
    assert results_of([{"role": "assistant"}]) == [0]
    assert results_of("text") == [0]


@pytest.mark.parametrize(
    ("values", "results", "earned", "before", "by_turn"),
    [
        ([0.5, 1.0], [1, 1, 0], [1, 2], 0, [0.5, 1.0, None]),  # a value for each call, and a last word
        ([0.5, 1.0], [1, 1], [1, 2], 0, [0.5, 1.0]),
        ([0.5, 1.0, 2.0], [2, 1, 0], [1, 2, 3], 0, [1.5, 2.0, None]),  # two calls in one message
        ([0.5], [1, 1, 0], [0, 1], 0, [None, 0.5, None]),  # a call that never reached the environment
        ([0.5, 2.0], [1, 0], [1], 0, [0.5, 2.0]),  # a value for the end
        ([0.5, 1.0], [1, 0], [1, 2], 0, [0.5, 1.0]),  # the second call's result did not fit any more
        ([None, 1.0], [1, 1, 0], [1, 2], 0, [None, 1.0, None]),
        ([], [1, 0], [0], 0, [None, None]),
        ([], [0], [], 0, [None]),
        ([0.1, 0.2], [1, 0], [2], 2, [0.1, 0.2]),  # there from the start
        ([0.1, 0.2], [1, 0], [0], 0, [0.1, 0.2]),  # there at the end only
        ([0.1], [0], [], 0, [0.1]),
    ],
)
def test_values_belong_to_the_turn_in_which_they_were_earned(values, results, earned, before, by_turn):
    assert values_by_turn(values, results, earned, before) == by_turn


@pytest.mark.parametrize(
    ("values", "results", "earned", "before", "problem"),
    [
        ([0.1], [1, 0], [1], 1, "1 values for 2 of the model's messages"),
        ([0.1, 0.2, 0.3], [1, 0], [0], 0, "3 values for 2"),
        ([0.1], [1, 1, 0], [1, 2], 0, "1 values, fewer than the 2"),
    ],
)
def test_values_of_no_turn_are_refused(values, results, earned, before, problem):
    with pytest.raises(ValueError, match=problem):
        values_by_turn(values, results, earned, before)
