"""Rewards for length against their formulas in literal numbers; lengths are tokens, whatever the text is."""

import pytest

from gspo_lite.errors import RewardError, UsageError
from gspo_lite.rewards.length import cosine_length, length_penalty, soft_overlong


def tag(text):
    return f"<think>so</think><answer>{text}</answer>"


RIGHT, WRONG = tag("7"), tag("8")
COSINE = [
    (RIGHT, 0, 2.0, "right, no tokens: 1 + (2 - 1) * (1 + cos 0) / 2"),
    (RIGHT, 50, 1.5, "right, half way: 1 + (2 - 1) * (1 + cos(pi/2)) / 2"),
    (RIGHT, 25, 1.8535533905932737, "right, a quarter: 1 + (1 + 0.7071067811865475) / 2"),
    (RIGHT, 100, -10.0, "right, but it reached the limit"),
    (RIGHT, 5000, -10.0, "right, beyond the limit"),
    (WRONG, 0, -10.0, "wrong, no tokens: 0 - 10 * (1 + cos 0) / 2"),
    (WRONG, 50, -5.0, "wrong, half way: 0 - 10 * (1 + cos(pi/2)) / 2"),
    (WRONG, 75, -1.4644660940672622, "wrong, three quarters: -10 * (1 - 0.7071067811865475) / 2"),
    (WRONG, 100, -10.0, "wrong, at the limit"),
    ("", 0, -10.0, "nothing is a wrong answer of no tokens"),
    (RIGHT + " " * 10**6, 50, 1.5, "a million characters are fifty tokens"),
    ("<answer>" * 125_000, 50, -5.0, "a megabyte of tags"),
    ([{"role": "assistant", "content": RIGHT}], 50, 1.5, "a list of messages"),
    ([{"role": "assistant", "content": None}], 50, -5.0, "a message without text"),
]


@pytest.mark.parametrize(("text", "tokens", "value", "reason"), COSINE, ids=[case[3] for case in COSINE])
def test_cosine_length(text, tokens, value, reason):
    found = cosine_length.with_options(max_length=100)([text], completion_ids=[[5] * tokens], answer=["7"])
    assert found == [pytest.approx(value, abs=1e-12)], reason


def test_cosine_length_leaves_out_what_cannot_be_graded_and_reads_the_marker():
    made = cosine_length.with_options(max_length=10, marker="boxed", correct_short=1.0, correct_long=0.5)
    assert made(["\\boxed{7}", "\\boxed{7}"], completion_ids=[[], []], answer=["7", None]) == [1.0, None]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "`max_length`: Field required"),
        ({"max_length": -1}, "`max_length`: .*greater than or equal to 1, got `-1`"),
        ({"max_length": 9.5}, "`max_length`"),
        ({"max_length": 9, "marker": "xml"}, "`marker`"),
        ({"max_length": 9, "exceeded": float("nan")}, "`exceeded`"),
        ({"max_length": 9, "correct_long": 3.0}, "correct_short >= correct_long"),
        ({"max_length": 9, "wrong_short": 0.5}, "wrong_long >= wrong_short"),
        ({"max_length": 9, "wrong_long": 1.0}, "every correct value above every wrong one"),
        ({"max_length": 9, "exceeded": 0.5}, "`exceeded` not above"),
    ],
)
def test_cosine_length_refuses(options, says):
    with pytest.raises(UsageError, match=says):
        cosine_length.with_options(**options)


# One group with 10, 20, 30 and 40 tokens: lambda = 0.5 - (L - 10) / 30 is 1/2, 1/6, -1/6 and -1/2.
PENALTY = [
    ([RIGHT] * 4, [0.5, 1 / 6, -1 / 6, -0.5], "all right: lambda"),
    ([WRONG] * 4, [0.0, 0.0, -1 / 6, -0.5], "all wrong: min(0, lambda)"),
    ([WRONG, RIGHT, RIGHT, WRONG], [0.0, 1 / 6, -1 / 6, -0.5], "wrong ones count for min and max"),
    (["", RIGHT, "</answer>" * 110_000, WRONG], [0.0, 1 / 6, -1 / 6, -0.5], "hostile text is a wrong answer"),
]


@pytest.mark.parametrize(("texts", "values", "reason"), PENALTY, ids=[case[2] for case in PENALTY])
def test_length_penalty(texts, values, reason):
    ids = [[1] * count for count in (10, 20, 30, 40)]
    found = length_penalty(texts, prompts=["p"] * 4, completion_ids=ids, answer=["7"] * 4)
    assert found == pytest.approx(values), reason


def test_length_penalty_compares_rows_of_one_prompt_only():
    ask = [{"role": "user", "content": "p"}], [{"role": "user", "content": "q"}]
    ids = [[1] * count for count in (10, 100, 30, 200, 20, 150)]
    found = length_penalty([RIGHT] * 6, prompts=[*ask] * 3, completion_ids=ids, answer=["7"] * 6)
    # first prompt 10, 30, 20 of [10, 30]; second prompt 100, 200, 150 of [100, 200]
    assert found == [0.5, 0.5, -0.5, -0.5, 0.0, 0.0]


def test_length_penalty_of_equal_lengths_is_nothing_and_a_row_without_gold_is_not_judged():
    ids = [[1, 2]] * 3
    found = length_penalty([RIGHT, WRONG, RIGHT], prompts=["p"] * 3, completion_ids=ids, answer=["7", "7", None])
    assert found == [0.0, 0.0, None]


def test_a_reward_for_length_says_what_it_was_not_given():
    with pytest.raises(RewardError, match="without `completion_ids`"):
        length_penalty([RIGHT], prompts=["p"], answer=["7"])
    with pytest.raises(RewardError, match="without `prompts`"):
        length_penalty([RIGHT], completion_ids=[[1]], answer=["7"])
    with pytest.raises(RewardError, match="without `completion_ids`"):
        soft_overlong.with_options(max_length=4, cache=2)([RIGHT])
