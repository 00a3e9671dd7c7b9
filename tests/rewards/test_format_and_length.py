import time

import pytest

from gspo_lite.completion.text import Layout
from gspo_lite.errors import UsageError
from gspo_lite.rewards.contract.registry import get
from gspo_lite.rewards.format import boxed_format, follows_form, tag_count, think_format
from gspo_lite.rewards.length import soft_overlong

FORMAT = [
    ("<think>a</think><answer>1</answer>", 1.0, "the form"),
    ("\n<think>a</think>\n\n<answer> 1 </answer>\n", 1.0, "white space around"),
    ("a</think><answer>1</answer>", 1.0, "the prompt opened the thinking"),
    ("<think>a</think>1", 0.0, "no tags"),
    ("<think>a</think><answer></answer>", 0.0, "an empty answer"),
    ("<think>a</think><answer>1", 0.0, "cut off"),
    ("x<think>a</think><answer>1</answer>", 0.0, "text before"),
    ("<think>a</think><answer>1</answer>x", 0.0, "text behind"),
    ("<think>a</think>x<answer>1</answer>", 0.0, "text between"),
    ("<answer>1</answer><think>a</think>", 0.0, "the wrong way round"),
    ("<think><think>a</think><answer>1</answer>", 0.0, "a tag twice"),
    ("", 0.0, "empty"),
]


@pytest.mark.parametrize(("text", "value", "reason"), FORMAT)
def test_think_format(text, value, reason):
    assert think_format([text]) == [value], reason


def test_tag_count_gives_a_quarter_for_each_tag_that_stands_once():
    texts = ["<think></think><answer></answer>", "<think></think>", "<think><think></think>", ""]
    assert tag_count(texts) == [1.0, 0.5, 0.25, 0.0]


def test_boxed_format():
    assert boxed_format(["\\boxed{1}", "\\boxed{}", "\\boxed{1", "<think>\\boxed{1}", "1"]) == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_soft_overlong_falls_over_the_last_tokens():
    # max_length 10, cache 4: free up to 6 tokens, then a quarter for each, -1 from 10 on
    lengths = [0, 6, 7, 9, 10, 50]
    values = soft_overlong.with_options(max_length=10, cache=4)(
        completions=[""] * 6, completion_ids=[[1] * n for n in lengths]
    )
    assert values == [0.0, 0.0, -0.25, -0.75, -1.0, -1.0]


@pytest.mark.parametrize(
    "options", [{}, {"max_length": 10}, {"max_length": 0, "cache": 1}, {"max_length": 9, "cache": -1}, {"x": 1}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UsageError, match="soft_overlong"):
        soft_overlong.with_options(**options)


@pytest.mark.parametrize(
    ("marker", "text", "follows"),
    [("tag", "<think>a</think><answer>1</answer>", True), ("tag", "<answer>1</answer>", False), ("tag", "1", False),
     ("boxed", "\\boxed{1}", True), ("boxed", "1", False), ("gsm8k", "#### 1", True), ("gsm8k", "1", False)],
)  # fmt: skip
def test_where_the_prompt_asks_for_the_answer_says_what_form_is_right(marker, text, follows):
    assert follows_form(text, Layout(marker)) is follows


HOSTILE = ["<think>" * 150_000, "<answer>" * 125_000, "</think><answer>" * 65_000, "\\boxed{" * 140_000, "{" * 10**6,
           "#" * 10**6, " " * 10**6, "1" * 10**6, "1," * 500_000, "\\boxed{1}," * 100_000]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:9] for text in HOSTILE])
@pytest.mark.parametrize(
    "name", ["think_format", "tag_count", "boxed_format", "math_correct", "exact_match", "numeric_match"]
)
def test_a_million_hostile_characters_take_no_time(name, text):
    began = time.perf_counter()
    get(name)(completions=[text], answer=["7"])
    assert time.perf_counter() - began < 1.0
