import pytest

from gspo_lite.data.directory import FIRST, LAST, ROOMS, WHERE, find, problems
from gspo_lite.errors import UsageError


def test_the_splits_ask_about_different_people():
    train, test = ({row["prompt"] for row in problems(split)} for split in ("train", "test"))
    assert (len(train), len(test)) == (200, 200)
    assert not train & test
    assert len(train | test) == len(FIRST) * len(LAST)


def test_the_tool_knows_every_answer():
    for row in [*problems("train"), *problems("test")]:
        first, last = row["prompt"].removeprefix("Where is ").removesuffix("?").split()
        assert find(first, last) == row["answer"]


def test_everybody_is_where_they_were_and_no_room_is_a_good_guess():
    assert problems("test")[0] == {"prompt": "Where is Laura Ellis?", "answer": "study"}
    shares = [list(WHERE.values()).count(room) / len(WHERE) for room in ROOMS]
    assert max(shares) < 0.13


@pytest.mark.parametrize(("first", "last"), [("Nora", "Nobody"), ("Berg", "Nora"), ("", ""), (7, None)])
def test_the_tool_tells_of_names_that_it_does_not_have(first, last):
    assert find(first, last) == "nobody of this name"


def test_another_difficulty_is_refused():
    with pytest.raises(UsageError, match="`directory` has no difficulty `hard`; allowed: `easy`"):
        problems("train", "hard")
