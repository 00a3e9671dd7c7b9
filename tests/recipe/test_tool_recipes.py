"""The embedded recipes with tools, from the command of a newcomer to the files of the run, in a few steps."""

import json

import pytest

from gspo_lite import load_recipe
from gspo_lite.run import run

SHORT = [
    "training.max_steps=4", "training.per_device_train_batch_size=16", "data.eval.limit=48", "data.eval.batch_size=48",
]  # fmt: skip


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def played(name, folder, *more):
    """Run a recipe for a few steps; return its result and the rows that training saw."""
    result = run(load_recipe(name, [*SHORT, *more], output=str(folder), allow_outside=True).recipe)
    assert len(lines(result.folder / "metrics.jsonl")) == 4
    return result, lines(result.folder / "completions.jsonl")


@pytest.mark.slow
def test_quickstart_tools_begins_with_room_to_learn_and_calls_its_tool(tmp_path, starter_tools):
    result, rows = played("quickstart_tools", tmp_path / "run")
    assert 0.25 < result.evaluation["before"]["accuracy"] < 0.65
    calls = [turn for row in rows for turn in row["turns"] if turn["role"] == "tool"]
    assert calls
    assert {(one["name"], one["end"]) for one in calls} == {("find", "done")}
    right = [row for row in rows if row["rewards"]["exact_match"]]
    assert right
    for row in right:
        assert row["turns"][-1]["content"] == f"<answer>{row['answer']}</answer>"


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["objective.algorithm=gspo", "environment=gspo_lite.data.letters:GuessLetter"]])
def test_quickstart_turns_is_played_to_its_end_and_paid_by_the_environment(tmp_path, starter_tools, more):
    result, rows = played("quickstart_turns", tmp_path / "run", *more)
    assert 0.25 < result.evaluation["before"]["sampled_accuracy"] < 0.65
    name = "GuessLetter" if more else "CoachedGuessLetter"
    for row in rows:
        replies = [turn["content"] for turn in row["turns"] if turn["role"] == "tool"]
        assert row["rewards"][name] == ("right" in replies[:4])
        assert len(replies) <= 5
