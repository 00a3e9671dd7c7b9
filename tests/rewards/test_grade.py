"""Grading: the table of answers, and what hostile text may cost."""

import pytest

from gspo_lite.rewards.math import (
    exact_match,
    grade,
    grade_all,
    lenient_match,
    math_correct,
    numeric_match,
)
from tests.rewards import kind_cases, spelling_cases
from tests.rewards.grading_cases import CASES, box, tag

KINDS = kind_cases.KINDS | spelling_cases.KINDS


@pytest.mark.parametrize(("completion", "gold", "marker", "verdict", "reason"), CASES, ids=[c[4] for c in CASES])
def test_grade(completion, gold, marker, verdict, reason):
    assert grade(completion, gold, marker) is verdict, reason


def test_a_batch_is_graded_as_its_rows_are():
    rows = [case for case in CASES if case[2] == "boxed"]
    found = grade_all([row[0] for row in rows], [row[1] for row in rows], "boxed")
    assert found == [row[3] for row in rows]


def test_an_unknown_marker_is_refused():
    with pytest.raises(ValueError, match=r"marker is .*'tag', 'boxed', 'gsm8k', .*"):
        grade("7", "7", "markdown")


def test_a_completion_of_none_is_wrong_and_a_gold_of_none_unusable():
    assert grade_all([None, None, tag("7")], ["7", None, None], "tag") == [False, None, None]
    assert math_correct([None], answer=["7"]) == [0.0]
    assert numeric_match([None], answer=["7"]) == exact_match([None], answer=["7"]) == [0.0]
    assert lenient_match(None, "7") is False


def test_numbers_of_numpy_are_golds():
    numpy = pytest.importorskip("numpy")
    assert grade(tag("7"), numpy.int64(7), "tag") is True
    assert grade(tag("0.5"), numpy.float64(0.5), "tag") is True


@pytest.mark.parametrize(
    ("text", "gold", "verdict"),
    [("it is 1,234.", "1234", True), ("<think>9+9=18</think>68", "68", True), ("68 not 69", "68", False),
     ("it is −5", "-5", True), ("7-5", "-5", False), ("so 1/2", "0.5", True), ("28%", "0.28", True),
     ("12 apples in one basket", "12", True),
     ("none", "68", False), ("", "68", False), ("7", "x+1", None), ("7", None, None)],
)  # fmt: skip
def test_lenient_match_takes_the_last_number(text, gold, verdict):
    assert lenient_match(text, gold) is verdict


def test_math_correct_is_called_as_trl_calls_rewards():
    completions = [[{"role": "assistant", "content": tag("7")}], [{"role": "assistant", "content": None}]]
    values = math_correct(
        prompts=["a", "b"], completions=completions, completion_ids=[[1], [2]], answer=["7", "7"],
        trainer_state=None, log_extra=print, log_metric=print,
    )  # fmt: skip
    assert values == [1.0, 0.0]
    assert math_correct([tag("7")], answer=[None]) == [None]
    assert math_correct.with_options(marker="boxed")([box("7")], answer=["7"]) == [1.0]


def test_numeric_match_compares_the_last_number_of_the_answer():
    texts = [tag("7"), tag("so it is 7"), tag("7.0001"), "7", tag("7")]
    assert numeric_match(texts, answer=["7", "7", "7", "7", "x"]) == [1.0, 1.0, 0.0, 0.0, None]


def test_exact_match_compares_text_apart_from_case_and_space():
    texts = [tag(" The  Cat"), tag("cat"), "the cat", tag("x")]
    assert exact_match(texts, answer=["the cat", "the cat", "the cat", None]) == [1.0, 0.0, 0.0, None]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_answers(kind):
    rows = [(answer, gold, True) for gold, right, _ in KINDS[kind] for answer in right]
    rows += [(answer, gold, False) for gold, _, wrong in KINDS[kind] for answer in wrong]
    found = grade_all([tag(answer) for answer, _, _ in rows], [gold for _, gold, _ in rows], "tag")
    assert [(*row, said) for row, said in zip(rows, found, strict=True) if said is not row[2]] == []
