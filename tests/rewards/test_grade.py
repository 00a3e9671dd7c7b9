"""Grading cases as data: completion, gold, marker, verdict, reason."""

import threading
import time

import pytest

from gspo_lite.rewards import grader
from gspo_lite.rewards.math import grade, lenient_match, math_correct, numeric_match

T, B, G = "tag", "boxed", "gsm8k"


def tag(text):
    return f"<think>so</think><answer>{text}</answer>"


def box(text):
    return f"hence \\boxed{{{text}}}."


CASES = [
    (tag("72"), "72", T, True, "the same integer"),
    (tag("73"), "72", T, False, "another integer"),
    (tag(" 72. "), "72", T, True, "white space and a full stop"),
    (tag("072"), "72", T, True, "a leading zero"),
    (tag("72.0"), "72", T, True, "the same value as a decimal"),
    (tag("1,000"), "1000", T, True, "thousands comma"),
    (tag("1 000"), "1000", T, True, "thousands space"),
    (tag("1,0000"), "10000", T, False, "no thousands comma"),
    (tag("$1,200.50"), "1200.5", T, True, "currency"),
    (tag("€5"), "5", T, True, "another currency"),
    (tag("-5"), "-5", T, True, "a sign"),
    (tag("−5"), "-5", T, True, "a unicode minus"),
    (tag("5"), "-5", T, False, "the sign is missing"),
    (tag("٧٢"), "72", T, True, "arabic digits"),
    (tag("７２"), "72", T, True, "full-width digits"),
    (tag("1/2"), "0.5", T, True, "a fraction for a decimal"),
    (tag("2/4"), "1/2", T, True, "an unreduced fraction"),
    (tag("½"), "0.5", T, True, "a unicode fraction"),
    (tag("1 1/2"), "1.5", T, True, "a mixed number"),
    (tag("1/0"), "1", T, False, "division by zero"),
    (tag("0.333"), "1/3", T, False, "no tolerance"),
    (tag("3.14"), "\\pi", T, False, "pi is not 3.14"),
    (tag("1e-20"), "2e-20", T, False, "tiny values differ"),
    (tag("1e3"), "1000", T, True, "scientific notation"),
    (tag("1.2 \\times 10^{3}"), "1200", T, True, "scientific notation in LaTeX"),
    (tag("1e999999999"), "1", T, False, "an absurd exponent"),
    (tag("28%"), "0.28", T, True, "percent for its value"),
    (tag("28"), "28\\%", T, True, "a gold in percent"),
    (tag("0.28"), "28\\%", T, True, "the value of a gold in percent"),
    (tag("29%"), "0.28", T, False, "another percentage"),
    (tag("5 km"), "5 km", T, True, "the same unit"),
    (tag("5"), "5 km", T, True, "the unit left out"),
    (tag("5 apples"), "5", T, True, "a unit added"),
    (tag("5 km"), "5 m", T, False, "another unit"),
    (tag("5 apple"), "5 apples", T, True, "singular and plural"),
    (tag("2.5 million"), "2500000", T, True, "a number word"),
    (tag("90°"), "90", T, True, "degrees"),
    (tag("7 or 8"), "7", T, False, "hedging"),
    (tag("7, 8"), "7", T, False, "an enumeration"),
    (tag("7-8"), "7", T, False, "a range"),
    (tag("between 6 and 8"), "7", T, False, "a range in words"),
    (tag("about 7"), "7", T, False, "an estimate"),
    (tag("not 7"), "7", T, False, "a denial"),
    (tag("\\neq 7"), "7", T, False, "a denial in LaTeX"),
    (tag("7?"), "7", T, False, "a question"),
    (tag(""), "7", T, False, "empty"),
    (tag("  "), "7", T, False, "blank"),
    (tag("seven"), "7", T, False, "no digits for a plain gold"),
    ("the answer is 7", "7", T, False, "no tags"),
    ("<answer>7", "7", T, False, "a tag that is not closed"),
    ("7</answer>", "7", T, False, "a tag that is not opened"),
    ("<answer>7</answer><answer>8</answer>", "7", T, False, "the last tag counts"),
    ("<answer>8</answer><answer>7</answer>", "7", T, True, "the last tag counts"),
    ("<answer>7</answer> wait <answer>8", "7", T, False, "the last tag was cut off"),
    ("<think><answer>7</answer></think>8", "7", T, False, "an answer while thinking"),
    ("<think>x<answer>7</answer>", "7", T, False, "thinking that did not end"),
    ("</think><answer>7</answer>", "7", T, True, "a prompt that opened the thinking"),
    ("<answer>7</answer></think>", "7", T, False, "everything before the end of thinking is ignored"),
    ("so\n#### 72", "72", G, True, "gsm8k"),
    ("#### 71\n#### 72", "72", G, True, "the last line counts"),
    ("#### 72\n#### ", "72", G, False, "the last line is empty"),
    ("#### 72 and more", "72", G, True, "words that read as a unit"),
    ("72", "72", G, False, "no marker"),
    ("#### 72", "It is 70 + 2.\n#### 72", G, True, "a worked gold"),
    ("#### 1,234", "#### 1234", G, True, "a worked gold with a comma in the answer"),
    (box("\\frac{1}{2}"), "0.5", B, True, "LaTeX fraction"),
    (box("\\dfrac{3}{4}"), "\\frac{3}{4}", B, True, "two spellings"),
    (box("\\sqrt{4}"), "2", B, True, "a root that is an integer"),
    (box("2\\sqrt{3}"), "\\sqrt{12}", B, True, "equal roots"),
    (box("x+1"), "1+x", B, True, "terms in another order"),
    (box("x+2"), "x+1", B, False, "another term"),
    (box("(1,2)"), "(1,2)", B, True, "a tuple"),
    (box("(2,1)"), "(1,2)", B, False, "a tuple in another order"),
    (box("\\{2,1\\}"), "\\{1,2\\}", B, True, "a set in another order"),
    (box("[0,1)"), "[0,1)", B, True, "an interval"),
    (box("[0,1]"), "[0,1)", B, False, "another interval"),
    (box("\\text{7 apples}"), "7", B, True, "words in LaTeX"),
    (box("{,}"), "7", B, False, "nothing in the box"),
    ("\\boxed{7", "7", B, False, "a box that is not closed"),
    ("\\boxed 7", "7", B, False, "a box without braces"),
    ("\\boxed{6} so \\boxed{7}", "7", B, True, "the last box counts"),
    ("\\boxed{7} or \\boxed{8}", "7", B, False, "joined boxes are one answer"),
    ("$7$", "7", B, False, "no box"),
    (tag("7"), "$7$", T, True, "a gold in dollars"),
    (tag("7"), 7, T, True, "an int"),
    (tag("0.5"), 0.5, T, True, "a float"),
    (tag("7"), None, T, None, "no gold"),
    (tag("7"), "", T, None, "an empty gold"),
    (tag("7"), float("nan"), T, None, "a gold that is no number"),
    (tag("7"), ["7"], T, None, "a gold in a list"),
    (tag("7"), True, T, None, "a gold of the wrong kind"),
    (tag("__import__('os').system('touch /tmp/owned')"), "7", T, False, "code"),
    (tag("9**9**9**9"), "7", T, False, "a tower of powers"),
    (tag("9^{9^{9^{9}}}"), "7", T, False, "a tower in LaTeX"),
    (tag("99999999!"), "7", T, False, "an absurd factorial"),
    (tag("(" * 5000 + "7"), "7", T, False, "deep nesting"),
    (tag("7" * 5000), "7", T, False, "thousands of digits"),
    (box("{" * 300 + "7" + "}" * 300), "7", B, False, "deep braces"),
]  # fmt: skip


@pytest.mark.parametrize(("completion", "gold", "marker", "verdict", "reason"), CASES, ids=[c[4] for c in CASES])
def test_grade(completion, gold, marker, verdict, reason):
    began = time.perf_counter()
    assert grade(completion, gold, marker) is verdict, reason
    assert time.perf_counter() - began < 10


def test_an_unknown_marker_is_refused():
    with pytest.raises(ValueError, match="allowed: tag, boxed, gsm8k"):
        grade("7", "7", "markdown")


@pytest.mark.parametrize(
    ("text", "gold", "verdict"),
    [("it is 1,234.", "1234", True), ("<think>9+9=18</think>68", "68", True), ("68 not 69", "68", False),
     ("none", "68", False), ("7", "x+1", None)],
)  # fmt: skip
def test_lenient_match_takes_the_last_number(text, gold, verdict):
    assert lenient_match(text, gold) is verdict


def test_rewards_are_callable_as_trl_calls_them():
    completions = [[{"role": "assistant", "content": tag("7")}], [{"role": "assistant", "content": None}]]
    values = math_correct(prompts=["a", "b"], completions=completions, answer=["7", "7"], trainer_state=None)
    assert values == [1.0, 0.0]
    assert numeric_match(completions=[tag("7"), tag("x")], answer=["7", "y"]) == [1.0, None]


@pytest.fixture
def sleepy_worker(monkeypatch):
    """A worker that is ready and then never answers."""
    import sys

    grader.stop()
    monkeypatch.setattr(
        grader, "COMMAND", [sys.executable, "-c", "import time; print('0', flush=True); time.sleep(99)"]
    )
    monkeypatch.setattr(grader, "LIMIT", 0.3)
    yield
    grader.stop()


def test_an_answer_that_takes_too_long_costs_only_itself(sleepy_worker, monkeypatch):
    began = time.perf_counter()
    assert grade(box("x+1"), "1+x", B) is None
    assert time.perf_counter() - began < 5
    assert grader.CURRENT[0].process.poll() is not None
    monkeypatch.undo()
    assert grade(box("x+1"), "1+x", B) is True


def test_the_limit_holds_in_a_thread_and_a_users_alarm_is_left_alone(sleepy_worker):
    import signal

    rung = []
    previous = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    found = []
    thread = threading.Thread(target=lambda: found.append(grade(box("x+1"), "1+x", B)))
    thread.start()
    thread.join(5)
    signal.signal(signal.SIGALRM, previous)
    assert found == [None]
    assert rung == [True]


def test_a_worker_that_was_killed_is_replaced():
    assert grade(box("x+1"), "1+x", B) is True
    grader.CURRENT[0].process.kill()
    grader.CURRENT[0].process.wait()
    assert grade(box("x+1"), "1+x", B) is True
