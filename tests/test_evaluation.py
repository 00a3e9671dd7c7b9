import pytest

from gspo_lite import evaluation, load_recipe
from gspo_lite.evaluation import evaluate, share, wilson
from gspo_lite.models.generate import cut


def test_wilson_interval_equals_the_textbook_value():
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662
    low, high = wilson([True] * 81 + [False] * 182)
    assert (low, high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


def test_wilson_interval_stays_between_zero_and_one():
    assert wilson([True] * 20)[1] == 1.0
    assert wilson([False] * 20)[0] == 0.0
    assert wilson([True] * 20)[0] == pytest.approx(0.8389, abs=5e-5)


def test_what_cannot_be_judged_is_not_right():
    assert share([True, None, False, None]) == 0.25


def test_a_completion_ends_before_its_end_token():
    assert cut([5, 6, 2, 7], {2}) == [5, 6]
    assert cut([5, 6], {2}) == [5, 6]


def test_a_right_number_without_its_marker_is_right_leniently_only(monkeypatch):
    said = ["<think>a</think><answer>7</answer>", "It is 7.", "It is 8."]
    monkeypatch.setattr(evaluation, "answer", lambda *args: [(text, [0] * 4) for text in said])
    rows = [{"prompt": "?", "answer": "7"}] * 3
    figures = evaluate(None, None, rows, load_recipe("quickstart").recipe).figures
    assert figures["accuracy"] == figures["format_rate"] == pytest.approx(1 / 3)
    assert figures["lenient_accuracy"] == pytest.approx(2 / 3)
    assert (figures["n"], figures["mean_tokens"]) == (3, 4.0)
