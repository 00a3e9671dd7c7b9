"""Where an answer can stand besides tags, boxes and `####`: what each marker reads, and what it leaves."""

import time

import pytest

from gspo_lite.completion.markers import OwnMarker
from gspo_lite.completion.text import Layout, find_answer, layout_of
from gspo_lite.rewards.math import exact_match, grade, lenient_match, numeric_match

# text, the number that is read
NUMBERS = [
    ("So the total is 1,250.50 in all.", "1,250.50"),
    ("Adding 3 and 4 gives **7**.", "7"),
    ("It is $-7$.", "-7"),
    ("\\[ x = \\frac{3}{4} \\]", "\\frac{3}{4}"),
    ("which leaves 1\\frac{1}{2} hours", "1\\frac{1}{2}"),
    ("about 30 % of them", "30 %"),
    ("a discount of 15\\%", "15\\%"),
    ("The train is 2 hours late, so 12:30", "12:30"),
    ("that is 2/3 of it", "2/3"),
    ("we need 1 3/4 cups", "1 3/4"),
    ("He pays $12.", "$12"),
    ("He pays \\$12.50 per hour", "\\$12.50"),
    ("He owes -$5 now", "-$5"),
    ("Es kostet 1.234,56 €.", "1.234,56 €"),
    ("It costs 12 000 €", "12 000 €"),
    ("1{,}234 apples", "1{,}234"),
    ("roughly 1.5 million people", "1.5 million"),
    ("3.2 \\times 10^{5} m", "3.2 \\times 10^{5}"),
    ("6.02e23 of them", "6.02e23"),
    ("that is 2^{10} ways", "2^{10}"),
    ("x = −4", "−4"),
    ("so x = - 7", "- 7"),
    ("so\n- 7", "7"),  # a bullet
    ("- 7", "- 7"),
    ("a side of $2\\sqrt{3}$", "2\\sqrt{3}"),
    ("which is \\sqrt{2}", "\\sqrt{2}"),
    ("in all 3x", "3x"),
    ("5! ways", "5!"),
    ("2\\pi", "2\\pi"),
    ("the 7th", "7"),
    ("it is 7ab", "7ab"),
    ("5km", "5km"),
    ("答案是7。", "7"),
    ("the answer is １２", "１２"),
    ("half a cup, ½", "½"),
    ("from 5-9", "9"),  # the dash of a range is no sign
    ("either 7 or 8", "8"),  # its contract: the last number, whatever else the text says
    ("The answer is 7.\n\nH2O, x_1, x_{2}, x^3 and v2.5 do not count", "7"),
    ("7\n", "7"),
    ("The answer is seven.", None),
    ("H2O", None),
    ("...", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_the_last_number_is_read_with_its_sign_and_unit_of_money(text, number):
    assert find_answer(text, "last_number") == number
    assert find_answer(f"<think>so 99</think>{text}", "last_number") == number
    assert find_answer(f"<think>{text}", "last_number") is None


@pytest.mark.parametrize(
    ("text", "gold", "right"),
    [
        ("So she has 72 clips in total.", "72", True),
        ("Therefore the answer is **1,250**.", "1250", True),
        ("It costs $12.50.", "12.5", True),
        ("The share is 0.75", "3/4", True),
        ("The share is $\\frac{3}{4}$", "0.75", True),
        ("That leaves 30%.", "30\\%", True),
        ("The temperature is -7 degrees.", "-7", True),
        ("so 10:30", "30", False),
        ("so 3,4", "4", False),
        ("so 1.234,56", "56", False),
        ("x = 7, not 8", "7", False),
        ("x^7", "7", False),
        ("in all 3x", "3", False),
        ("2\\sqrt{3}", "2", False),
        ("2\\sqrt{3}", "3", False),
        ("the side is \\sqrt{2}.", "2", False),
        ("so x = - 7", "7", False),
        ("so x = - 7", "-7", True),
        ("in 5!", "5", False),
        ("it is 7ab", "7", False),
        ("it is 5km", "5 m", False),
        ("<think>7", "7", False),
        ("That is 1.5 million", "1.5", False),
        ("He owes -$5", "5", False),
        ("It is seven.", "7", False),
    ],
)
def test_plain_text_is_graded_by_its_last_number(text, gold, right):
    assert grade(text, gold, "last_number") is right
    assert numeric_match.with_options(marker="last_number")([text], answer=[gold]) == [float(right)]


@pytest.mark.parametrize(
    ("text", "gold", "found"),
    [
        ("<think>so 7", "7", True),  # anywhere: in thoughts as well
        ("<think>so</think><answer>it is $7</answer>", "7", True),
        ("7 or 8", "8", True),
        ("He owes -$5", "-5", True),
        ("2/3", "2/3", True),
        ("so 3,4", "4", False),
        ("v2.5", "5", False),
        ("7 or 8", "7", False),
        ("seven", "7", False),
        ("7", "x + 1", None),
    ],
)
def test_lenient_accuracy_reads_numbers_with_the_same_code(text, gold, found):
    assert lenient_match(text, gold) is found


PREFIXED = [
    ("Answer:", "Answer: 7", "7"),
    ("Answer:", "**Answer:** 7", "7"),
    ("Answer:", "**Answer**: 7", "7"),
    ("Answer:", "so\n\n**Final Answer: 7**\n", "7"),
    ("Answer:", "The final answer: **7**", "7"),
    ("Answer:", "### Answer:\n\n7\nwhich was asked for", "7"),
    ("Answer:", "- Answer: `7`", "7"),
    ("Answer:", "> ANSWER : $7$", "$7$"),
    ("Answer:", "We add. Answer: 7", "7"),
    ("Answer:", "Answer: 7\nAnswer: 8", "8"),
    ("Answer:", "Answer：7", "7"),
    ("answer", "So, the answer: 7", "7"),
    ("The answer is", "Therefore, the answer is \\boxed{7}.", "\\boxed{7}."),
    ("The answer is", "We add 3.\nThe answer is: 7", "7"),
    ("####", "so\n#### 7", "7"),
    ("Answer:", "<think>Answer: 8</think>Answer: 7", "7"),
    ("Answer:", "<think>Answer: 8", None),
    ("Answer:", "Answer:", None),
    ("Answer:", "**Answer:**\n\n", None),
    ("Answer:", "The answer is 7", None),
    ("Answer:", "the reader's answer: 7", None),
    ("Answer:", "Answers: 7", None),
    ("The answer is", "the answer isn't 7", None),
    ("A:", "Option A: 7", None),
    ("Answer:", "7", None),
]


@pytest.mark.parametrize(("prefix", "text", "answer"), PREFIXED)
def test_a_prefix_is_found_as_instruct_models_write_it(prefix, text, answer):
    assert find_answer(text, OwnMarker(prefix=prefix)) == answer


PATTERNS = [
    (r"Answer: (.*)", "Answer: 7\nAnswer: 8", "8"),
    (r"\d+", "7 or 8", "8"),
    (r"<ans>\s*(.*?)\s*</ans>", "<ans> 7 </ans>", "7"),
    (r"\[\[(.*?)\]\]", "[[7]], no [[8]]", "8"),
    (r"(?i)answer is\s*\$?(\d+)", "The ANSWER IS $7", "7"),
    (r"(?m)^= (\d+)$", "= 7\n= 8\nso", "8"),
    (r"x=(\d+)|y=(\d+)", "x=7 y=8", "y=8"),  # group 1 is not part of the last match
    (r"(?s)```\n(.*?)\n```", "```\n7\n8\n```", "7\n8"),
    (r"Answer: (.*)", "<think>Answer: 7</think>", None),
    (r"Answer: (.*)", "<think>Answer: 7", None),
    (r"Answer: (.*)", "answer: 7", None),
    (r"Answer: (.*)", "Answer: ", None),
    (r"\d+", "seven", None),
    (r"^7$", "7\n8", None),
]


@pytest.mark.parametrize(("pattern", "text", "answer"), PATTERNS)
def test_a_pattern_reads_group_1_of_its_last_match(pattern, text, answer):
    assert find_answer(text, OwnMarker(regex=pattern)) == answer


def test_a_pattern_that_takes_forever_finds_nothing_and_is_warned_of(caplog):
    start = time.perf_counter()
    assert find_answer("a" * 5000 + "b", OwnMarker(regex="(a+)+$")) is None
    assert time.perf_counter() - start < 10
    assert "the pattern `(a+)+$` needs more than 0.25 s on a completion" in caplog.text


TAGGED = [
    ("<SOLUTION>7</SOLUTION>", "7"),
    ("<SOLUTION>\n7\n</SOLUTION>", "7"),
    ("<SOLUTION>7</SOLUTION> or <SOLUTION>8</SOLUTION>", "8"),
    ("<think><SOLUTION>8</SOLUTION></think><SOLUTION>7</SOLUTION>", "7"),
    ("<SOLUTION>7</SOLUTION></SOLUTION>", "7"),
    ("<SOLUTION>7", None),
    ("<SOLUTION></SOLUTION>", None),
    ("<solution>7</solution>", None),
    ("<answer>7</answer>", None),
    ("<SOLUTION>7</SOLUTION><SOLUTION>8", None),
]


@pytest.mark.parametrize(("text", "answer"), TAGGED)
def test_tags_of_ones_own(text, answer):
    assert find_answer(text, layout_of({"tags": ["<SOLUTION>", "</SOLUTION>"]}).marker) == answer


@pytest.mark.parametrize(
    ("text", "gold", "right"),
    [
        ("<think>so</think>Paris", "paris", True),
        (" Paris\n", "Paris", True),
        ("Paris", "paris ", True),
        ("New  York", "new york", True),
        ("It is Paris", "Paris", False),
        ("<think>so</think>", "Paris", False),
        ("<think>Paris", "Paris", False),
        ("Paris.", "Paris", False),
    ],
)
def test_the_whole_text_may_be_the_answer(text, gold, right):
    assert exact_match.with_options(marker="text")([text], answer=[gold]) == [float(right)]


@pytest.mark.parametrize(
    "marker",
    ["tag", "boxed", "gsm8k", "last_number", "text", "fence", {"prefix": "Answer:"}, {"tags": ["[[", "]]"]},
     {"regex": r"Answer: (.*)"}, {"regex": r"<ans>\s*(\d+)\s*</ans>"}, {"regex": r"\\boxed\{(\d+)\}"},
     {"regex": r"\d+"}],
)  # fmt: skip
def test_a_form_can_be_written_for_every_marker(marker):
    layout = layout_of(marker, "thinking")
    assert find_answer(layout.form("12", "let me see"), *layout) == "12"


@pytest.mark.parametrize(
    ("marker", "thinking", "says"),
    [
        ("bxed", "think", "marker is 'bxed': .*did you mean `boxed`"),
        ({"regx": "a"}, "think", "Extra inputs"),
        ({"regex": "(a"}, "think", "is not a regular expression: missing \\)"),
        ({"prefix": "A", "regex": "b"}, "think", "exactly one of `tags`, `prefix` and `regex`"),
        ({}, "think", "exactly one of"),
        ({"tags": ["<a>"]}, "think", "at least 2"),
        (None, "think", "marker is None"),
        ("tag", "thnk", "thinking is 'thnk': .*did you mean `think`"),
        ("tag", ["<a>", "<b>", "<c>"], "at most 2"),
        ("tag", ["<a>", "<a>"], "two different tags"),
    ],
)
def test_what_is_no_marker_or_no_thinking_is_refused(marker, thinking, says):
    with pytest.raises(ValueError, match=says):
        layout_of(marker, thinking)


def test_a_layout_is_a_plain_value():
    assert layout_of("boxed") == Layout("boxed", "think") == ("boxed", "think")
    assert len({layout_of({"prefix": "A"}), layout_of({"prefix": "A"})}) == 1
