"""Multiple choice: one choice named by letter or text; hedging is wrong."""

import time

import pytest

from gspo_lite.errors import RewardError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.choice import multiple_choice
from gspo_lite.rewards.contract.registry import build_rewards


def tag(text):
    return f"<think>so</think><answer>{text}</answer>"


CITIES = ["Oslo", "Rome", "A coast", "2.", "Rome or Oslo"]
CASES = [
    ("B", 1.0, "the letter"),
    ("b", 1.0, "a small letter"),
    (" (B) ", 1.0, "in brackets"),
    ("B.", 1.0, "with a full stop"),
    ("**B**", 1.0, "markdown"),
    ("\\text{B}", 1.0, "LaTeX"),
    ("The answer is B", 1.0, "a sentence"),
    ("Answer: B.", 1.0, "a label"),
    ("option (B)", 1.0, "an option"),
    ("Rome", 1.0, "the text"),
    ("rome.", 1.0, "the text in small letters"),
    ("B) Rome", 1.0, "letter and text"),
    ("B: Rome.", 1.0, "letter and text with a colon"),
    ("(B)\nRome", 1.0, "letter and text on two lines"),
    ("A", 0.0, "another letter"),
    ("Oslo", 0.0, "another text"),
    ("A or B", 0.0, "two letters"),
    ("B or A", 0.0, "two letters, the right one first"),
    ("B, A", 0.0, "a listing"),
    ("B A", 0.0, "two letters with a space"),
    ("BA", 0.0, "two letters as one word"),
    ("A) Rome", 0.0, "letter and text disagree"),
    ("B) Oslo", 0.0, "the right letter for another text"),
    ("B) Rome or A) Oslo", 0.0, "two of both"),
    ("B) Rome Oslo", 0.0, "two texts"),
    ("not B", 0.0, "a denial"),
    ("B?", 0.0, "a question"),
    ("1", 0.0, "an index is no answer"),
    ("Z", 0.0, "a letter that is no choice"),
    ("Rome or Oslo", 0.0, "a text that hedges, and is another choice"),
    ("", 0.0, "nothing"),
    ("B" * 10**6, 0.0, "a million letters"),
    ("(" * 10**6, 0.0, "a million brackets"),
    ("B " * 500_000, 0.0, "the letter again and again"),
    ("\\text{" * 300, 0.0, "LaTeX that is not closed"),
]


@pytest.mark.parametrize("answer", ["B", "(b)", "Rome", 1])
@pytest.mark.parametrize(("text", "value", "reason"), CASES, ids=[case[2] for case in CASES])
def test_multiple_choice(text, value, reason, answer):
    began = time.perf_counter()
    assert multiple_choice([tag(text)], answer=[answer], choices=[CITIES]) == [value], reason
    assert time.perf_counter() - began < 0.5


WITHOUT_TEXTS = [
    ("C", "C", 1.0, "the letter"),
    ("C) Rome", "C", 1.0, "a text that nothing contradicts"),
    ("\\textbf{(C)}\\ 40", "C", 1.0, "letter and text in LaTeX"),
    ("Option C", "C", 1.0, "an option"),
    ("D: Rome", "C", 0.0, "another letter with a text"),
    ("C) or D) Rome", "C", 0.0, "hedging with a text"),
    ("C", "<answer>C</answer>", 1.0, "a gold in a tag"),
    ("C", "C. Rome", 1.0, "a gold with its text"),
    ("C", "so it is\n#### C", 1.0, "a gold behind hashes"),
    ("C", "N/A", None, "a placeholder"),
    ("C or D", "C", 0.0, "hedging"),
    ("C", "", None, "no gold"),
    ("C", None, None, "no gold either"),
]


@pytest.mark.parametrize(("text", "answer", "value", "reason"), WITHOUT_TEXTS, ids=[c[3] for c in WITHOUT_TEXTS])
def test_letters_need_no_texts(text, answer, value, reason):
    message = [{"role": "assistant", "content": tag(text)}]
    assert multiple_choice([message], answer=[answer]) == [value], reason


def test_a_text_that_looks_like_an_article_and_equal_texts():
    assert multiple_choice([tag("a coast")], answer=[2], choices=[CITIES]) == [1.0]
    assert multiple_choice([tag("2")], answer=["2."], choices=[CITIES]) == [1.0]
    assert multiple_choice([tag("A")], answer=[1], choices=[["same", "same"]]) == [1.0]


@pytest.mark.parametrize(
    ("answer", "choices"),
    [("Paris", CITIES), (5, CITIES), (-1, CITIES), (True, CITIES), ("F", CITIES), ("Rome", None), (1.0, CITIES)],
)
def test_an_answer_that_is_no_choice_is_broken_data(answer, choices):
    made = build_rewards([RewardSettings(name="multiple_choice")])[0]
    with pytest.raises(RewardError, match=r"row 0: ValueError: column `answer` is"):
        made(completions=[tag("B")], answer=[answer], choices=[choices])
