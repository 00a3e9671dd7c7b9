"""The contract of a reward function, sync and async: what it may return and how what goes wrong is named."""

import math
import subprocess
import sys

import numpy as np
import pytest

from gspo_lite.errors import RewardError, UsageError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.registry import build_rewards, check_columns, get, reward
from gspo_lite.rewards.text import completion_text

COMPLETIONS = [[{"role": "assistant", "content": text}] for text in ("a", "b", "c")]


def guarded(tmp_path, body, name="f", kind="def"):
    (tmp_path / "mine.py").write_text(f"import math, asyncio\n{kind} {name}(completions, **columns):\n    {body}\n")
    return build_rewards([RewardSettings(name=f"{tmp_path}/mine.py:{name}")])[0]


GOOD = [
    ("return [1, 2.5, True]", [1.0, 2.5, 1.0]),
    ("return (0.0, None, math.nan)", [0.0, None, None]),
    ("import numpy; return numpy.array([1.0, 2.0, 3.0])", [1.0, 2.0, 3.0]),
    ("import numpy; return [numpy.float32(1), 0, 0]", [1.0, 0.0, 0.0]),
]
BAD = [
    ("return [1, 2]", "returned 2 values; expected 3 numbers or None"),
    ("return None", "returned None; expected 3 numbers or None"),
    ("return {}", "returned a dict; expected 3"),
    ("return 1.0", "returned a float; expected 3"),
    ("return 'abc'", "returned a str; expected 3"),
    ("return ['1', 2, 3]", "returned a str for row 0; expected 3"),
    ("return [1, [2], 3]", "returned a list for row 1; expected 3"),
    ("return [1, math.inf, 3]", "returned inf for row 1"),
    ("return [1, 2, 1e38]", "returned 1e.38 for row 2"),
    ("return [1 / (c[0]['content'] != 'b') for c in completions]", "failed at row 1: ZeroDivisionError"),
    ("return [exit(3) for c in completions]", "failed at row 0: SystemExit"),
]


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(("body", "values"), GOOD)
def test_what_a_reward_may_return(tmp_path, kind, body, values):
    assert guarded(tmp_path, body, kind=kind)(completions=COMPLETIONS, prompts=["p"] * 3) == values


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(("body", "says"), BAD)
def test_what_goes_wrong_is_named(tmp_path, kind, body, says):
    with pytest.raises(RewardError, match=says) as caught:
        guarded(tmp_path, body, kind=kind)(completions=COMPLETIONS, prompts=["p", "q", "r"])
    assert "reward `f`" in caught.value.message


def test_the_row_that_fails_is_shown_with_its_prompt(tmp_path):
    body = "return [1 / (c[0]['content'] != 'b') for c in completions]"
    with pytest.raises(RewardError) as caught:
        guarded(tmp_path, body)(completions=COMPLETIONS, prompts=["p", "the\x1b[2J question", "r"])
    assert "prompt: the [2J question" in caught.value.message
    assert "completion: b" in caught.value.message


def test_a_reward_cannot_change_what_the_next_one_sees(tmp_path):
    kept = [[{"role": "assistant", "content": "a"}]]
    guarded(tmp_path, "completions[0][0]['content'] = 'hacked'; return [1.0]")(completions=kept)
    assert kept == [[{"role": "assistant", "content": "a"}]]


def test_an_async_reward_runs_inside_a_running_loop(tmp_path):
    import asyncio

    async def notebook_cell():
        return guarded(tmp_path, "await asyncio.sleep(0); return [1.0] * 3", kind="async def")(completions=COMPLETIONS)

    assert asyncio.run(notebook_cell()) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("abc", "abc"),
        ([{"role": "assistant", "content": "abc"}], "abc"),
        ([{"role": "assistant", "content": None}], ""),
        ([{"role": "assistant", "tool_calls": []}], ""),
        ([], ""),
        ([{"role": "assistant", "content": [{"type": "text", "text": "ab"}, {"type": "image"}, {"text": "c"}]}], "abc"),
        (None, ""),
        ([{"content": "a"}, {"content": "b"}], "ab"),
    ],
)
def test_every_shape_of_completion_is_text(completion, text):
    assert completion_text(completion) == text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere.py:f", "no file `nowhere.py`"),
        ("no_such_module:f", "no module `no_such_module`"),
        ("math:nothing", "`math` has no `nothing`"),
        ("math:pi", "is a float, not a function"),
    ],
)
def test_a_custom_reward_that_is_missing_is_named(name, says):
    with pytest.raises(UsageError, match=says):
        build_rewards([RewardSettings(name=name)])


@pytest.mark.parametrize(("text", "line"), [("x = (\n", 1), ("x = 1\ny = 1 / 0\n", 2), ("import no_such_thing\n", 1)])
def test_a_file_that_cannot_be_imported_is_named_with_its_line(tmp_path, text, line):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"broken.py:{line}: "):
        build_rewards([RewardSettings(name=f"{path}:f")])


def test_options_reach_a_custom_reward_and_the_file_is_recorded(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def f(completions, scale=1.0, **columns):\n    return [scale] * len(completions)\n")
    made = build_rewards([RewardSettings(name=f"{path}:f", options={"scale": 3.0})])[0]
    assert made(completions=COMPLETIONS) == [3.0, 3.0, 3.0]
    assert len(made.sha256) == 64


def test_a_missing_column_is_refused_with_the_nearest():
    made = build_rewards([RewardSettings(name="math_correct")])
    check_columns(made, ["prompt", "answer"])
    with pytest.raises(
        UsageError, match=r"reads the column `answer`; the data has `prompt`, `answers`; did you mean `answers`"
    ):
        check_columns(made, ["prompt", "answers"])


def test_the_decorator_registers_a_reward_with_inputs_and_options():
    @reward
    def close_to(completion: str, target: float, *, within: float = 1.0) -> float:
        """1.0 for a number near the column `target`."""
        return float(abs(float(completion) - target) <= within)

    assert get("close_to").columns == ["target"]
    assert close_to(completions=["3", "9"], target=[2.0, 2.0]) == [1.0, 0.0]
    assert close_to.with_options(within=10.0)(completions=["3", "9"], target=[2.0, 2.0]) == [1.0, 1.0]


def test_a_reward_of_all_completions_is_called_once():
    @reward
    def against_the_longest(completions, topic, *, scale: float = 1.0) -> list[float]:
        """Length beside the longest of the group."""
        return [scale * len(text) / max(map(len, completions)) for text in completions]

    messages = [[{"role": "assistant", "content": text}] for text in ("ab", "abcd")]
    assert against_the_longest.columns == ["topic"]
    assert against_the_longest(messages, topic=["x", "y"], trainer_state=None) == [0.5, 1.0]
    assert against_the_longest.with_options(scale=2.0)(messages, topic=["x", "y"]) == [1.0, 2.0]


def test_a_column_that_is_not_given_is_named():
    with pytest.raises(RewardError, match="`math_correct` reads the column `answer`"):
        get("math_correct")(completions=["a"])


def test_numbers_and_nan_of_numpy_are_taken():
    made = build_rewards([RewardSettings(name="tag_count")])[0]
    assert made.number(np.float64(0.5), 0, 1) == 0.5
    assert made.number(np.float64(math.nan), 0, 1) is None


def test_a_reward_of_trl_works_unchanged():
    code = (
        "from gspo_lite.rewards.registry import build_rewards\n"
        "from gspo_lite.recipe.schema import RewardSettings\n"
        "made = build_rewards([RewardSettings(name='trl.rewards:think_format_reward')])[0]\n"
        "texts = ['<think>a</think>b', 'b']\n"
        "print(made(completions=[[{'role': 'assistant', 'content': t}] for t in texts], prompts=['', '']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip().endswith("[1.0, 0.0]"), done.stderr
