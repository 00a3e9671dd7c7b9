"""Programs of a model: what passes, and what a hostile one costs and reaches."""

import os
import socket
import time
from pathlib import Path

import pytest

from gspo_lite.errors import MachineError, RewardError, UsageError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.code import code_execution, program_of
from gspo_lite.rewards.contract.registry import build_rewards
from gspo_lite.system import sandbox

TWICE = [{"input": "3\n", "output": "6\n"}, {"input": "-4\n", "output": "-8"}]
RUN = code_execution.with_options(trusted=True, seconds=3.0)
SHARE = code_execution.with_options(trusted=True, seconds=3.0, partial=True)


def block(program, language="python"):
    return f"<think>so</think>Here:\n```{language}\n{program}\n```\n"


GOOD = "print(2 * int(input()))"
CASES = [
    (block(GOOD), 1.0, 1.0, "right"),
    (f"<answer>{GOOD}</answer>", 1.0, 1.0, "in a tag"),
    (block(f"print('')\n{GOOD}"), 0.0, 0.0, "an empty line too many"),
    (block(f"{GOOD}\nprint('  ')"), 1.0, 1.0, "white space at the end"),
    (block("print(6)"), 0.0, 0.5, "one of two"),
    (block("print(2 * int(input())"), 0.0, 0.0, "a syntax error"),
    (block(f"{GOOD}\nraise SystemExit(1)"), 0.0, 0.0, "a bad end"),
    (block("import os\nos._exit(0)"), 0.0, 0.0, "ends without an answer"),
    (block(f"import sys\n{GOOD}\nsys.exit(0)"), 1.0, 1.0, "ends by itself"),
    ("print(6)", 0.0, 0.0, "no program"),
    ("", 0.0, 0.0, "nothing"),
    (f"<think>```python\n{GOOD}\n```\n", 0.0, 0.0, "still thinking"),
    (block("\ud800\0"), 0.0, 0.0, "no text"),
    (block(GOOD + "#" * 10**6), 0.0, 0.0, "a program of a million characters"),
    ("```python\n" * 100_000, 0.0, 0.0, "a megabyte of fences"),
]


@pytest.mark.parametrize(("text", "value", "share", "reason"), CASES, ids=[case[3] for case in CASES])
def test_code_execution(text, value, share, reason):
    assert RUN([[{"role": "assistant", "content": text}]], tests=[TWICE]) == [value], reason
    assert SHARE([text], tests=[TWICE]) == [share], reason


def test_rows_keep_their_order_and_without_tests_there_is_no_verdict():
    texts = [block(GOOD), block("print(0)"), block(GOOD), block(GOOD)]
    assert RUN(texts, tests=[TWICE, TWICE, None, []]) == [1.0, 0.0, None, None]


FENCES = [
    ("```python\na\n```\n```python\nb\n```", "b\n", "the last"),
    ("```python\na\n```\n```bash\nb\n```", "a\n", "the last in Python"),
    ("```\na\n```", "a\n", "no language"),
    ("``` PY \na\n```", "a\n", "a short name"),
    ("```python\na\n```\n```python\nb", "a\n", "the last that is closed"),
    ("```python\na\n```json\nb\n```", "a\n```json\nb\n", "a fence in the program"),
    ("```python\na\n```\n<answer>b</answer>", "a\n", "a block before a tag"),
    ("<answer>b</answer>", "b", "a tag"),
    ("<answer> </answer>", None, "an empty tag"),
    ("```python\n```", None, "an empty block"),
    ("```bash\na\n```", None, "another language"),
]


@pytest.mark.parametrize(("text", "program", "reason"), FENCES, ids=[case[2] for case in FENCES])
def test_which_program_counts(text, program, reason):
    assert program_of(text) == program, reason


isolated = pytest.mark.skipif(not sandbox.namespaces(), reason="this machine allows no namespaces")
HOSTILE = [
    ("while True: pass", "an endless loop"),
    ("import time; time.sleep(99)", "a long sleep"),
    ("x = bytearray(4 * 2**30); print(6)", "four gigabytes"),
    ("while True: print('x' * 10**6)", "endless output"),
    ("x = 'x'\nwhile True: x += x", "growing text"),
    ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", "a fork bomb"),
    ("import signal\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except OSError: pass\n"
     "while True: pass", "ignores signals"),
    ("import os\nfor _ in range(1100):\n    os.mkdir('d')\n    os.chdir('d')", "deep folders"),
    ("print(9**9**9)", "a tower of powers"),
    ("(" * 50_000, "deep brackets"),
]  # fmt: skip


# Without namespaces these would get away, the last one with the life of the tests.
ESCAPES = [
    ("import os\nif os.fork():\n    os._exit(0)\nos.setsid()\nwhile True: pass", "a daemon"),
    ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nprint(6)", "kills what it finds"),
]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path))
    sandbox.namespaces()
    return tmp_path


@pytest.mark.parametrize(("program", "reason"), HOSTILE, ids=[case[1] for case in HOSTILE])
def test_a_hostile_program_is_wrong_in_time_and_leaves_nothing(program, reason, temporary):
    made = code_execution.with_options(trusted=True, seconds=1.0)
    began = time.perf_counter()
    assert made([block(program)], tests=[TWICE[1:]]) == [0.0], reason
    assert time.perf_counter() - began < 6
    assert list(temporary.iterdir()) == []
    assert gone(str(temporary))


@isolated
@pytest.mark.parametrize(("program", "reason"), ESCAPES, ids=[case[1] for case in ESCAPES])
def test_nothing_outlives_its_test(program, reason, temporary):
    code_execution.with_options(trusted=True, seconds=1.0)([block(program)], tests=[TWICE[1:]])
    assert list(temporary.iterdir()) == []
    assert gone(str(temporary)), reason


def gone(part):
    """Whether no process has this in its command line, within two seconds: a namespace needs a moment to end."""
    for _ in range(20):
        if not any(part in command for command in commands()):
            return True
        time.sleep(0.1)
    return False


def commands():
    """Command lines of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().decode(errors="replace")
        except OSError:
            continue


def output(program, stdin=""):
    return sandbox.run_python(program, stdin, sandbox.Limits(5.0, 2**29, 10_000)).output


def test_a_program_sees_no_secret_and_an_empty_folder(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "hf_secret" not in output("import os; print(os.environ, os.listdir())")
    assert output("import os; print(os.listdir())") == "[]\n"


@isolated
def test_a_program_has_no_network():
    code = "import socket\nsocket.create_connection(('127.0.0.1', {}), 2)\nprint('connected')"
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert output(code.format(server.getsockname()[1])) == ""


@isolated
def test_a_program_cannot_read_the_environment_of_the_run_or_kill_it():
    code = f"import os\ntry: print(len(open('/proc/{os.getpid()}/environ').read()))\nexcept OSError: print('no')"
    assert output(code) == "no\n"
    assert output(f"import os\ntry: os.kill({os.getpid()}, 0)\nexcept OSError: print('no')") == "no\n"


def test_a_machine_without_namespaces_runs_programs_with_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    assert sandbox.namespaces.__wrapped__() == ()
    assert "have network access" in caplog.text


def test_a_machine_that_starts_no_process_is_said_to_be_one(monkeypatch):
    monkeypatch.setattr(sandbox, "START", "raise SystemExit(1)")
    with pytest.raises(MachineError, match="cannot start a Python process"):
        sandbox.namespaces.__wrapped__()


@pytest.mark.parametrize("options", [{}, {"trusted": False}])
def test_it_is_off_unless_trusted(options):
    with pytest.raises(UsageError, match="runs Python that a model wrote"):
        code_execution.with_options(**options)
    with pytest.raises(UsageError, match="trusted: true"):
        code_execution([block(GOOD)], tests=[TWICE])


@pytest.mark.parametrize(
    "options", [{"seconds": 0.0}, {"seconds": -1.0}, {"memory_mb": 1}, {"output_kb": 0}, {"workers": 0}]
)
def test_limits_out_of_range_are_refused(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        code_execution.with_options(trusted=True, **options)


@pytest.mark.parametrize(
    "tests", ["assert f(1) < 2", ["assert f(1) == g(2)"], [{"input": "1"}], [{"input": {}, "output": 2}]]
)
def test_broken_tests_are_named(tests):
    made = build_rewards([RewardSettings(name="code_execution", options={"trusted": True})])[0]
    with pytest.raises(RewardError, match="row 0: ValueError: column `tests` is"):
        made(completions=[block(GOOD)], tests=[tests])
