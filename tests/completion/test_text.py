"""Where an answer stands: a table of texts on which graders and credit read the same characters."""

import time

import pytest

from gspo_lite.completion.markers import PLACES
from gspo_lite.completion.text import Layout, answer_spans, find_answer
from gspo_lite.completion.thinking import thought_spans
from gspo_lite.credit import credit_spans
from gspo_lite.rewards.contract.guarded import GuardedReward
from gspo_lite.rewards.math import grade

# text, marker, spans, answer: a gold that is right for it, None where there is no answer
ANSWERS = [
    (r"\boxed{1} and \boxed{2}", "boxed", [(7, 8), (21, 22)], "1, 2"),
    (r"\boxed{x=1}\text{ or }\boxed{ 2 }", "boxed", [(7, 10), (30, 31)], "x=1, 2"),
    (r"\boxed{1}, \boxed{2}, \boxed{3}", "boxed", [(7, 8), (18, 19), (29, 30)], "1, 2, 3"),
    (r"\boxed{1} but \boxed{2}", "boxed", [(21, 22)], "2"),
    (r"\boxed{1} and \boxed{2", "boxed", [], None),
    (r"\boxed {\frac{1}{\sqrt{2}}}.", "boxed", [(8, 26)], r"\frac{1}{\sqrt{2}}"),
    (r"\boxed{ }", "boxed", [], None),
    ("we \\boxed{3} carry\n#### 7", "gsm8k", [(24, 25)], "7"),
    ("we \\boxed{3} carry\n#### 7", "boxed", [(10, 11)], "3"),
    ("we \\boxed{3} carry\n#### 7", "tag", [], None),
    ("#### 1\nin all #### 42 \nyes", "gsm8k", [(19, 21)], "42"),
    ("#### 41\n####", "gsm8k", [], None),
    ("<answer>1</answer> or <answer>2</answer>", "tag", [(30, 31)], "2"),
    ("<answer>1</answer> or <answer>2", "tag", [], None),
    ("<answer>1</answer> or <answer>it is 222", "tag", [], None),
    ("<answer>1</answer></answer>", "tag", [(8, 9)], "1"),
    ("</answer><answer>", "tag", [], None),
    ("<think><answer>1</answer></think>", "tag", [], None),
    ("<think><answer>1</answer></think><answer>2</answer>", "tag", [(41, 42)], "2"),
    ("<answer>1</answer><think>no, <answer>2</answer>", "tag", [], None),
    ("\\boxed{1}</think>\\boxed{2}<think>\\boxed{3}</think> \\boxed{4}", "boxed", [(58, 59)], "4"),
    (r"<answer>\boxed{7}</answer>", "tag", [(8, 17)], "7"),
    (r"<answer>\boxed{7}</answer>", "boxed", [(15, 16)], "7"),
    ("<think>½ + ½ 🙂</think><answer>\u00a0−１２\n</answer>", "tag", [(31, 34)], "-12"),
    ("", "tag", [], None),
    ("", "boxed", [], None),
    ("", "gsm8k", [], None),
]


@pytest.mark.parametrize(("text", "marker", "spans", "gold"), ANSWERS)
def test_grader_and_credit_read_the_same_characters(text, marker, spans, gold):
    assert answer_spans(text, marker) == spans
    assert credit_spans("answer", text, Layout(marker)) == [(start, end, 1.0) for start, end in spans]
    read = ", ".join(text[start:end] for start, end in spans)
    assert find_answer(text, marker) == (read or None)
    mine = GuardedReward(lambda completions: [], "mine", 1.0, [], layout=Layout(marker))
    assert mine.extracted(text) == (read or None)
    assert grade(text, gold or "7", marker) is (gold is not None)


@pytest.mark.parametrize(
    ("text", "marker", "spans"),
    [
        ("so\n```json\n{}\n```\nthere", "fence", [(11, 13)]),
        ("```python\n1\n```", "fence", []),
        ("<think>```\n1\n```</think>", "fence", []),
        ("<think>so</think>```\n{}\n```", "fence", [(21, 23)]),
        ("<think>so</think>\n{} ", "text", [(18, 20)]),
        ("<think>{}", "text", []),
        (" \n", "text", []),
    ],
)
def test_an_answer_may_stand_in_a_fence_or_be_all_of_the_text(text, marker, spans):
    assert answer_spans(text, marker) == spans
    assert credit_spans("answer", text, Layout(marker)) == [(start, end, 1.0) for start, end in spans]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("<think>a</think>7", [(7, 8)]),
        ("a</think>7", [(0, 1)]),  # the prompt held the opening tag
        ("<think>a", [(7, 8)]),
        ("x<think>a</think>b<think>c</think>7", [(8, 26)]),
        ("<think>a</think>b<think>c", [(7, 25)]),
        ("a</think>b<think>c", [(17, 18)]),
        ("7", []),
        ("", []),
    ],
)
def test_thoughts_are_all_that_is_not_graded(text, spans):
    assert thought_spans(text) == spans


@pytest.mark.parametrize("marker", PLACES)
def test_a_right_answer_in_its_form_is_found(marker):
    assert find_answer(Layout(marker).form("{4}", "so {1}"), marker) == ("4" if marker == "last_number" else "{4}")


PIECES = ["<answer>", "</answer>", "<think>", "\\boxed{", "\\boxed{1},", "####", "```\n", "{}", " "]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("marker", PLACES)
def test_hostile_text_is_read_in_linear_time(marker, piece):
    text = piece * (1_000_000 // len(piece))
    start = time.perf_counter()
    answer_spans(text, marker)
    answer_spans(f"<answer>{text}</answer>", marker)
    assert time.perf_counter() - start < 2.0  # typical: 0.01 to 0.2
