"""The contract of a reward function, sync and async: what it may return and how what goes wrong is named."""

import hashlib
import math
import re
import subprocess
import sys

import numpy as np
import pytest

from gspo_lite.completion.text import chat_text, completion_text
from gspo_lite.errors import RewardError, UsageError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.guarded import calls
from gspo_lite.rewards.contract.registry import build_rewards, check_columns, get, reward
from gspo_lite.rewards.contract.returned import as_number

COMPLETIONS = [[{"role": "assistant", "content": text}] for text in ("a", "b", "c")]


def guarded(tmp_path, body, name="f", kind="def", **settings):
    """A reward from a file: one function, or with the kinds `class` and `async class` an instance that is called."""
    head = f"{kind} {name}(completions, **columns):\n"
    if kind.endswith("class"):
        head = f"class {name}:\n  {kind.replace('class', 'def')} __call__(self, completions, **columns):\n"
    text = f"import asyncio, fractions, math, signal, sys, threading, time\n{head}    {body}\n"
    (tmp_path / "mine.py").write_text(text)
    return build_rewards([RewardSettings(name=f"{tmp_path}/mine.py:{name}", **settings)])[0]


GOOD = [
    ("return [1, 2.5, True]", [1.0, 2.5, 1.0]),
    ("return (0.0, None, math.nan)", [0.0, None, None]),
    ("import numpy; return numpy.array([1.0, 2.0, 3.0])", [1.0, 2.0, 3.0]),
    ("import numpy; return [numpy.float32(1), 0, 0]", [1.0, 0.0, 0.0]),
    ("return (float(n) for n in range(3))", [0.0, 1.0, 2.0]),
    ("return map(float, range(3))", [0.0, 1.0, 2.0]),
    ("return {c[0]['content']: n for n, c in enumerate(completions)}.values()", [0.0, 1.0, 2.0]),
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
    ("return [1, 2, -math.inf]", "returned -inf for row 2"),
    ("return [1, 2, 1e38]", "returned 1e.38 for row 2"),
    ("return [10**400, 2, 3]", "returned an integer of 1329 bits for row 0"),
    ("return [1, 2, 10**5000]", "returned an integer of 16610 bits for row 2"),
    ("return [1, 1j, 2]", "returned a complex for row 1"),
    ("return [fractions.Fraction(1, 2), 1, 2]", "returned a Fraction for row 0"),
    ("import numpy; return numpy.zeros((3, 2))", "returned a list for row 0; expected 3"),
    ("import numpy; return [numpy.zeros(2), 1, 2]", "returned a ndarray for row 0; expected 3"),
    ("import numpy; return numpy.float64(1)", "returned a float64; expected 3"),
    ("return (1.0 for c in completions[1:])", "returned 2 values; expected 3"),
    ("return (1 / 0 for c in completions)", "failed at row 0: ZeroDivisionError"),
    ("return {1.0, 2.0, 3.0}", "returned a set; expected 3"),
    ("return len", "returned a builtin_function_or_method; expected 3 .*\nhint: a function that makes a reward"),
    ("return [1, 2, 3, 4]", "returned 4 values; expected 3"),
    ("return []", "returned 0 values; expected 3"),
    ("return {'a': 1, 'b': 2, 'c': 3}", "returned a dict; expected 3"),
    ("raise asyncio.CancelledError('gone')", "failed at row 0: CancelledError: gone"),
    ("raise SystemExit", "failed at row 0: SystemExit"),
    ("return [1.0] * 3 if len(completions) == 1 else 1 / 0", "`f` failed: ZeroDivisionError"),
    ("return columns['nothing']", "failed at row 0: KeyError"),
    ("return [1 / (c[0]['content'] != 'b') for c in completions]", "failed at row 1: ZeroDivisionError"),
    ("return [exit(3) for c in completions]", "failed at row 0: SystemExit"),
]


KINDS = ["def", "async def", "class", "async class"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("body", "values"), GOOD)
def test_what_a_reward_may_return(tmp_path, kind, body, values):
    assert guarded(tmp_path, body, kind=kind)(completions=COMPLETIONS, prompts=["p"] * 3) == values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("body", "says"), BAD)
def test_what_goes_wrong_is_named(tmp_path, kind, body, says):
    with pytest.raises(RewardError, match=says) as caught:
        guarded(tmp_path, body, kind=kind)(completions=COMPLETIONS, prompts=["p", "q", "r"])
    assert "reward `f`" in caught.value.message


SKIPPED = [
    ("return [1 / (c[0]['content'] != 'b') for c in completions]", [1.0, None, 1.0], 1),
    ("return [sys.exit() if c[0]['content'] == 'c' else len(completions) for c in completions]", [2.0, 2.0, None], 1),
    ("return [1, math.inf, 10**400]", [1.0, None, None], 2),
    ("return [1, '2', 3]", [1.0, None, 3.0], 1),
    ("return 1 / 0", [None, None, None], 3),
    # Fails only together: what each scores alone is taken.
    ("return [5.0] if len(completions) == 1 else 1 / 0", [5.0, 5.0, 5.0], 1),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("body", "values", "errors"), SKIPPED)
def test_skip_leaves_the_failing_rows_unjudged_and_counts_them(tmp_path, caplog, kind, body, values, errors):
    made = guarded(tmp_path, body, kind=kind, on_error="skip")
    for _ in range(2):
        with calls() as heard:
            assert made(completions=COMPLETIONS, prompts=["p", "q", "r"]) == values
        assert [(one.name, one.error_count, one.none_count) for one in heard] == [("f", errors, values.count(None))]
        assert len(heard[0].marks) == 3
    assert len([record for record in caplog.records if "rewards/f/error_count" in record.message]) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", ["return [1, 2]", "return None", "return {}", "return 1.0"])
def test_a_wrong_shape_stops_even_where_errors_are_skipped(tmp_path, kind, body):
    with pytest.raises(RewardError, match="expected 3 numbers or None"):
        guarded(tmp_path, body, kind=kind, on_error="skip")(completions=COMPLETIONS)


@pytest.mark.parametrize("on_error", ["stop", "skip"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("def", "threading.Event().wait()"),
        ("def", "while True: pass"),
        ("class", "time.sleep(9999)"),
        ("async def", "await asyncio.sleep(9999)"),
        ("async def", "time.sleep(9999)"),
        ("async def", "await asyncio.to_thread(time.sleep, 9999)"),
        ("async class", "await asyncio.Event().wait()"),
    ],
)
def test_a_reward_that_sleeps_for_ever_is_left_unjudged(tmp_path, kind, body, on_error):
    """In a process of its own, from the main thread and another one; the process ends although the call never does."""
    made = guarded(tmp_path, body, kind=kind)
    code = (
        "import logging, threading\n"
        "from gspo_lite.rewards.contract.guarded import calls\n"
        "from gspo_lite.rewards.contract.registry import build_rewards\n"
        "from gspo_lite.recipe.schema import RewardSettings\n"
        f"made = build_rewards([RewardSettings(name={made_name(tmp_path)!r}, timeout=0.2, on_error={on_error!r})])[0]\n"
        "def ask():\n"
        "    with calls() as heard:\n"
        "        values = made(completions=['a', 'b'])\n"
        "    print(values, heard[0].none_count, heard[0].seconds < 5)\n"
        "thread = threading.Thread(target=ask); thread.start(); thread.join(); ask()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert made.timeout == 120
    assert done.stdout == "[None, None] 2 True\n" * 2, done.stderr
    assert done.stderr.count("reward `f` took longer than its timeout of 0.2 s; its 2 completions are left") == 2


def made_name(tmp_path):
    return f"{tmp_path}/mine.py:f"


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_row_that_hangs_while_the_failing_row_is_looked_for_does_not_hang_the_run(tmp_path, kind):
    body = "return 1 / 0 if len(completions) > 1 else time.sleep(9999)"
    with pytest.raises(RewardError, match="`f` failed: ZeroDivisionError"):
        guarded(tmp_path, body, kind=kind, timeout=0.2)(completions=COMPLETIONS)


def test_rows_of_an_async_reward_are_looked_through_side_by_side(tmp_path):
    body = "await asyncio.sleep(0.3); return [1 / (c[0]['content'] != 'b') for c in completions]"
    made = guarded(tmp_path, body, kind="async def", on_error="skip")
    many = COMPLETIONS * 10
    with calls() as heard:
        assert made(completions=many) == [1.0, None, 1.0] * 10
    assert heard[0].seconds < 3  # three calls of 0.3 s, not 30


def test_without_a_limit_a_reward_runs_in_the_callers_thread(tmp_path):
    body = "return [float(threading.current_thread() is threading.main_thread())]"
    assert guarded(tmp_path, body, timeout=None)(completions=["a"]) == [1.0]
    assert guarded(tmp_path, body)(completions=["a"]) == [0.0]


@pytest.mark.parametrize("timeout", [5.0, None])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_an_interrupt_is_no_fault_of_a_reward(tmp_path, kind, timeout):
    with pytest.raises(KeyboardInterrupt):
        guarded(tmp_path, "raise KeyboardInterrupt", kind=kind, timeout=timeout, on_error="skip")(completions=["a"])


def test_figures_of_a_call(tmp_path):
    made = guarded(tmp_path, "return [1.0, 4.0, math.nan]")
    made(completions=["a"] * 3)  # nobody listens
    with calls() as outer, calls() as heard:
        made(completions=COMPLETIONS)
    assert heard == outer
    (call,) = heard
    assert (call.name, call.values, call.none_count, call.error_count) == ("f", [1.0, 4.0, None], 1, 0)
    assert 0 < call.seconds < 1


def test_an_error_that_cannot_say_what_it_is_has_its_type(tmp_path):
    body = "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})()"
    with pytest.raises(RewardError, match="failed at row 0: Mute"):
        guarded(tmp_path, body)(completions=["a"])


@pytest.mark.parametrize("form", [str, lambda text: [{"role": "user", "content": text}]])
def test_the_row_that_fails_is_shown_with_its_prompt(tmp_path, form):
    body = "return [1 / (c[0]['content'] != 'b') for c in completions]"
    with pytest.raises(RewardError) as caught:
        guarded(tmp_path, body)(completions=COMPLETIONS, prompts=[form(t) for t in ("p", "the\x1b[2J question", "r")])
    assert "prompt: the [2J question" in caught.value.message
    assert "completion: b" in caught.value.message


@pytest.mark.parametrize(
    ("body", "completions", "says"),
    [
        ("return columns['solution']", COMPLETIONS, "no completion can be judged, so look at the code; it got "),
        ("return [c.strip() for c in completions]", COMPLETIONS, r"are lists of messages, the text is `completion\[0"),
        ("return [c[0]['content'] for c in completions]", ["a", "b"], "the completions are texts"),
        ("return columns['solution']", COMPLETIONS, "`completions`, `prompts`, `answer`; the completions"),
        ("return [1 / (len(str(c)) % 2) for c in completions]", ["a", "bb"], "with `on_error: skip` an error counts"),
    ],
)
def test_only_where_some_rows_can_be_judged_the_hint_is_to_skip_the_others(tmp_path, body, completions, says):
    columns = {"prompts": ["p"] * len(completions), "answer": ["1"] * len(completions)}
    with pytest.raises(RewardError) as caught:
        guarded(tmp_path, body)(completions=completions, **columns)
    assert re.search(says, caught.value.hint)
    assert ("on_error" in caught.value.hint) == ("on_error" in says)


def test_a_function_gets_only_what_it_takes_and_no_copies_of_anything_else(tmp_path):
    class Refuses(list):
        def __iter__(self):
            raise AssertionError("was copied")

    (tmp_path / "mine.py").write_text("def f(completions, answer=None):\n    return [1.0] * len(completions)\n")
    (made,) = build_rewards([RewardSettings(name=made_name(tmp_path))])
    assert made(completions=["a"], other=[Refuses()], prompts=["p"]) == [1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_reward_cannot_change_what_the_next_one_sees(tmp_path, kind):
    class State:
        best = 0.0

    def seen():
        return {
            "completions": [[{"role": "assistant", "content": "a"}]],
            "prompts": [[{"role": "user", "content": "p"}]],
            "completion_ids": [[1, 2]],
            "answer": ["7"],
            "steps": [{"all": [1, (2, [3])]}],
            "pixels": [np.zeros(2)],
        }

    kept, state = seen(), State()
    body = (
        "completions[0][0]['content'] = 'hacked'; columns['prompts'][0].clear(); columns['answer'][0] = '8'; "
        "columns['completion_ids'][0].append(3); columns['steps'][0]['all'][1][1].clear(); "
        "columns['pixels'][0][0] = 1; columns['trainer_state'].best = 1.0; return [1.0]"
    )
    guarded(tmp_path, body, kind=kind)(**kept, trainer_state=state)
    assert str(kept) == str(seen())
    assert state.best == 1.0  # the trainer's own state is shared, not copied


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


def test_the_text_of_a_prompt_is_what_anybody_says():
    assert chat_text([{"role": "system", "content": "a"}, {"role": "user", "content": [{"text": "b"}]}, None]) == "ab"
    assert (chat_text("a"), chat_text(None), chat_text([])) == ("a", "", "")


RIGHT = "<think>x</think><answer>7</answer>"
FORMS = [
    (RIGHT, 1.0),
    ({"role": "assistant", "content": RIGHT}, 1.0),
    ([{"role": "assistant", "content": RIGHT}], 1.0),
    (
        [{"role": "assistant", "content": [{"type": "text", "text": RIGHT[:9]}, {"type": "text", "text": RIGHT[9:]}]}],
        1.0,
    ),
    ([{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, {"role": "tool", "content": RIGHT}], 0.0),
    ([{"role": "tool", "content": "8"}, {"role": "assistant", "content": RIGHT}], 1.0),
    ([{"role": "user", "content": RIGHT}, {"role": "system", "content": RIGHT}], 0.0),
    ([{"role": "assistant", "reasoning_content": "x", "content": "<answer>7</answer>"}], 1.0),
    ([{"role": "assistant", "thinking": "x", "content": "<answer>7</answer>"}], 1.0),
    ([{"role": "assistant", "content": None}], 0.0),
    ([{"role": "assistant", "tool_calls": [{"id": "1"}]}], 0.0),
    ([{"role": "assistant", "content": [{"type": "image"}, {"text": None}, None, 7]}], 0.0),
    ([], 0.0),
    ([None, 7], 0.0),
    ("", 0.0),
    (None, 0.0),
]


@pytest.mark.parametrize("name", ["math_correct", "numeric_match", "exact_match", "think_format", "tag_count"])
def test_every_form_of_completion_is_scored_by_every_reward(name):
    made = build_rewards([RewardSettings(name=name)])[0]
    completions, values = zip(*FORMS, strict=True)
    assert made(completions=list(completions), answer=["7"] * len(FORMS)) == list(values)


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
    assert made.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


CLASSES = """
from gspo_lite import reward
class Judge:
    def __init__(self, scale=1.0):
        self.scale = scale
    def __call__(self, completions, topic, **columns):
        return [self.scale * len(t) for t in topic]
class Mute:
    pass
judge = Judge(2.0)
@reward
def decorated(completion: str, topic: str, *, scale: float = 1.0) -> float:
    return scale * len(topic)
def narrow(completions, topic, scale=1.0, **columns):
    return [scale * len(t) for t in topic]
def fixed(completions):
    return [0.0]
"""


@pytest.mark.parametrize(
    ("name", "options", "values"),
    [
        ("Judge", {}, [3.0]),
        ("Judge", {"scale": 3.0}, [9.0]),
        ("judge", {}, [6.0]),
        ("decorated", {"scale": 2.0}, [6.0]),
        ("narrow", {"scale": 2.0}, [6.0]),
    ],
)
def test_functions_classes_and_instances_of_files_and_modules(tmp_path, monkeypatch, name, options, values):
    path = tmp_path / "classes_of_rewards.py"
    path.write_text(CLASSES)
    monkeypatch.syspath_prepend(tmp_path)
    for home in (path, "classes_of_rewards"):
        made = build_rewards([RewardSettings(name=f"{home}:{name}", options=options)])[0]
        assert made(completions=["a"], topic=["abc"]) == values
        assert made.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        with pytest.raises(UsageError, match="reads the column `topic`; the data has `prompt`, `topics`; did you mean"):
            check_columns([made], ["prompt", "topics"])


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("Judge", {"skale": 1.0}, "has no option `skale`; did you mean `scale`.; allowed: `scale`"),
        ("fixed", {"scale": 1.0}, "has no option `scale`; allowed: none"),
        ("decorated", {"skale": 1.0}, "option `skale`: unknown; allowed: scale"),
        ("decorated", {"scale": "3"}, "option `scale`: "),
        ("Mute", {}, "is a class whose instances cannot be called"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_the_run(tmp_path, name, options, says):
    path = tmp_path / "classes.py"
    path.write_text(CLASSES)
    with pytest.raises(UsageError, match=says):
        build_rewards([RewardSettings(name=f"{path}:{name}", options=options)])


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
    assert as_number(np.float64(0.5)) == (0.5, None)
    assert as_number(np.float64(math.nan)) == (None, None)


def test_a_reward_of_trl_works_unchanged():
    code = (
        "from gspo_lite.rewards.contract.guarded import calls\n"
        "from gspo_lite.rewards.contract.registry import build_rewards\n"
        "from gspo_lite.recipe.schema import RewardSettings\n"
        "made = build_rewards([RewardSettings(name='trl.rewards:think_format_reward')])[0]\n"
        "texts = ['<think>a</think>b', 'b']\n"
        "print(made(completions=[[{'role': 'assistant', 'content': t}] for t in texts], prompts=['', '']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip().endswith("[1.0, 0.0]"), done.stderr
