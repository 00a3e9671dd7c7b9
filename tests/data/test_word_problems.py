"""The embedded word problems: their steps are right and end in the answer, and the splits share no calculation."""

import re

import pytest

from gspo_lite.data import word_problems
from gspo_lite.errors import UsageError

SPLITS = {split: word_problems.problems(split) for split in word_problems.SPLITS}
SIGNS = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}


def test_problems_are_the_same_every_time():
    assert SPLITS["test"][0] == word_problems.problems("test", "hard")[0]
    assert (len(SPLITS["train"]), len(SPLITS["test"])) == (3000, 500)


@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_steps_are_right_follow_the_story_and_end_in_the_answer(difficulty):
    for row in word_problems.problems("train", difficulty):
        steps = [re.fullmatch(r"(\d+) ([-+*]) (\d+) = (\d+)", step).groups() for step in row["steps"].split(", ")]
        assert all(SIGNS[sign](int(a), int(b)) == int(c) for a, sign, b, c in steps)
        assert [step[0] for step in steps[1:]] == [step[3] for step in steps[:-1]]
        assert row["answer"] == steps[-1][3]
        told = re.findall(r"\d+", row["prompt"])
        assert told == [steps[0][0], *(step[2] for step in steps)]
        assert len(steps) <= {"easy": 2, "hard": 3}[difficulty]
        assert int(row["answer"]) > 0


def test_the_splits_share_no_calculation():
    assert not {row["steps"] for row in SPLITS["train"]} & {row["steps"] for row in SPLITS["test"]}


@pytest.mark.parametrize(("split", "difficulty"), [("dev", "easy"), ("train", "medium")])
def test_unknown_split_or_difficulty_names_what_is_allowed(split, difficulty):
    with pytest.raises(UsageError, match="allowed: `"):
        word_problems.problems(split, difficulty)
