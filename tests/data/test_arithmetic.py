import pytest

from gspo_lite.data import arithmetic
from gspo_lite.errors import UsageError


@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_no_sum_of_the_held_out_split_is_trained_on_not_even_swapped(difficulty):
    train = {tuple(sorted(pair)) for pair in arithmetic.pairs_of("train", difficulty)}
    test = {tuple(sorted(pair)) for pair in arithmetic.pairs_of("test", difficulty)}
    assert len(test) >= 500
    assert not train & test


def test_answers_are_right():
    for problem in arithmetic.problems("test", "hard", 200):
        a, b = problem["question"].removeprefix("What is ").removesuffix("?").split(" + ")
        assert problem["answer"] == str(int(a) + int(b))


def test_difficulties_differ_in_digits():
    assert all(10 <= n <= 99 for pair in arithmetic.pairs_of("train", "easy") for n in pair)
    assert all(100 <= n <= 999 for pair in arithmetic.pairs_of("train", "hard") for n in pair)


def test_problems_are_the_same_every_time():
    first = arithmetic.problems("test", None, 3)
    assert first == arithmetic.problems("test", "easy")[:3]
    assert first[0] == {"question": "What is 59 + 19?", "answer": "78"}


def test_digits_stand_above_each_other():
    assert list(arithmetic.columns(47, 185)) == [(7, 5), (4, 8), (0, 1)]


@pytest.mark.parametrize(("split", "difficulty"), [("dev", "easy"), ("train", "medium")])
def test_unknown_split_or_difficulty_names_what_is_allowed(split, difficulty):
    with pytest.raises(UsageError, match="allowed: `"):
        arithmetic.problems(split, difficulty)
