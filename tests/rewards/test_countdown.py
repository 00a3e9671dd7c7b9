"""The countdown game: what reaches the target, and hostile arithmetic that must cost nothing."""

import time

import pytest

from gspo_lite.errors import RewardError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.registry import build_rewards
from gspo_lite.rewards.countdown import countdown


def tag(text):
    return f"<think>so</think><answer>{text}</answer>"


CASES = [
    ("(1 + 2) * 3", 1.0, "reaches 9"),
    ("3*(2+1)", 1.0, "in another order"),
    ("(1 + 2) * 3 = 9", 1.0, "with its result"),
    ("(1 + 2) × 3", 1.0, "a unicode sign"),
    ("$\\left(1 + 2\\right) \\times 3$", 1.0, "LaTeX"),
    ("(1 +\n2) * 3", 1.0, "on two lines"),
    ("(1 + 2) * 3.", 1.0, "a full stop"),
    ("(1 + 2) * 3 = 9.", 1.0, "a full stop behind the result"),
    ("`(1 + 2) * 3`", 1.0, "code"),
    ("**(1 + 2) * 3**", 1.0, "bold"),
    ("\\boxed{(1 + 2) * 3}", 1.0, "a box"),
    ("$\\boxed{(1 + 2) \\times 3 = 9}$", 1.0, "a box with its result"),
    ("\\frac{3}{1} + 2 * 3", 0.0, "a fraction of another value"),
    ("[1 + 2] * 3", 1.0, "square brackets"),
    ("\\left[1 + 2\\right] \\cdot 3", 1.0, "square brackets in LaTeX"),
    ("{1 + 2} * 3", 1.0, "braces"),
    ("(1 + 2) x 3", 1.0, "an x for times"),
    ("(1 + 2)X3", 1.0, "a capital x"),
    ("9 = (1 + 2) * 3", 1.0, "the target first"),
    ("10 = (1 + 2) * 3", 0.0, "a wrong target first"),
    ("9 = 9", 0.0, "only the target"),
    ("(1 + 2) − 3", 0.0, "a unicode minus, another value"),
    ("(1 + 2)\\,\\times\\,3", 1.0, "thin spaces"),
    ("(1 + 2) * 3 = 10", 0.0, "with a wrong result"),
    ("(1 + 2) * 3 = 9 = 9", 0.0, "two results"),
    ("1 + 2 * 3", 0.0, "reaches 7"),
    ("3 * 3", 0.0, "a number twice, others not"),
    ("3 * (1 + 2) + 3 - 3", 0.0, "numbers too often"),
    ("2 + 3 + 4", 0.0, "a number not given"),
    ("9", 0.0, "the target itself"),
    ("3 ** 2 * 1", 0.0, "a power"),
    ("3 ** (1 + 2)", 0.0, "a power of another value"),
    ("(1 + 2) // 3", 0.0, "a floor division"),
    ("3 % 2 + 1", 0.0, "a remainder"),
    ("-1 + 2 * 3", 0.0, "a sign is no operation"),
    ("(1 + 2)(3)", 0.0, "a call"),
    ("1 + 2 + 3 / (1 - 1)", 0.0, "a number too often, and a division by zero"),
    ("3 / (1 + 2 - 3)", 0.0, "a division by zero of numbers too often"),
    ("01 + 2 + 3", 0.0, "a leading zero"),
    ("1.0 + 2 + 3", 0.0, "a decimal"),
    ("١ + ٢ + ٣", 0.0, "other digits"),
    ("(1 + 2) * 3 or 9", 0.0, "hedging"),
    ("__import__('os').getcwd()", 0.0, "code"),
    ("lambda: 9", 0.0, "more code"),
    ("(1 + 2) * 3 # 9", 0.0, "a comment"),
    ("", 0.0, "nothing"),
    ("= 9", 0.0, "only a result"),
    ("()", 0.0, "an empty tuple"),
    ("9**9**9", 0.0, "a tower of powers"),
    ("9" * 400, 0.0, "huge digits"),
    ("9" * 10**6, 0.0, "a million digits"),
    ("(" * 240 + "9" + ")" * 240, 0.0, "deep brackets"),
    ("(" * 10**6, 0.0, "a million brackets"),
    ("-" * 499 + "9", 0.0, "deep signs"),
    ("1+" * 249 + "1", 0.0, "a deep sum"),
    ("1*" * 500_000 + "1", 0.0, "a long product"),
    ("=" * 499, 0.0, "many results"),
    ("\\left" * 10**5, 0.0, "a megabyte of LaTeX"),
]


@pytest.mark.parametrize(("text", "value", "reason"), CASES, ids=[case[2] for case in CASES])
def test_countdown(text, value, reason):
    began = time.perf_counter()
    assert countdown([tag(text)], numbers=[[1, 2, 3]], target=[9]) == [value], reason
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(
    ("text", "numbers", "target", "value"),
    [
        ("8 / (3 - 8 / 3)", [3, 3, 8, 8], 24, 1.0),  # 8 / (1/3), exact in fractions only
        ("1 / (2 - 2)", [1, 2, 2], 1, 0.0),
        ("\\frac{8}{3 - \\frac{8}{3}}", [3, 3, 8, 8], 24, 1.0),
        ("\\dfrac{6}{2} \\times 4", [2, 4, 6], 12, 1.0),
        ("24 = 8 ÷ (3 − 8 ÷ 3)", [3, 3, 8, 8], 24, 1.0),
        ("1 - 3", [1, 3], -2, 1.0),
        ("1 - 3 = -2", [3, 1], "-2", 1.0),
        ("1 / 2", (1, 2), 0.5, 1.0),
        ("5 + 5", ["5", 5.0], 10.0, 1.0),
        ("1 + 2", None, 3, None),
        ("1 + 2", [1, 2], None, None),
    ],
)
def test_numbers_are_exact(text, numbers, target, value):
    assert countdown([tag(text)], numbers=[numbers], target=[target]) == [value]


def test_countdown_reads_messages_and_the_marker():
    message = [{"role": "assistant", "content": "so \\boxed{1 \\cdot 2 \\div 2}"}]
    assert countdown.with_options(marker="boxed")([message], numbers=[[1, 2, 2]], target=[1]) == [1.0]
    assert countdown(["1 + 2", "<think><answer>1+2</answer>"], numbers=[[1, 2]] * 2, target=[3] * 2) == [0.0, 0.0]


def test_broken_data_is_named():
    made = build_rewards([RewardSettings(name="countdown")])[0]
    with pytest.raises(RewardError, match="`countdown` failed at row 1"):
        made(completions=[tag("1+2")] * 2, numbers=[[1, 2], [1, "x"]], target=[3, 3])
