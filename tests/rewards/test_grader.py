"""The grader's worker: what hangs or dies costs its own row, from any thread, and touches no signal."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from gspo_lite.errors import MachineError
from gspo_lite.rewards.grading import grader
from gspo_lite.rewards.math import grade, grade_all
from tests.rewards.grading_cases import box

HANGS = box("\\binom{99999999}{55555555}")
EQUAL = (box("x+1"), "1+x", "boxed")


@pytest.fixture(autouse=True)
def a_worker_that_is_warm():
    assert grade(*EQUAL) is True


def pretend(monkeypatch, code):
    """Let the next worker run this code instead of the engine."""
    grader.stop()
    monkeypatch.setattr(grader, "command", lambda: [sys.executable, "-c", code])
    monkeypatch.setattr(grader, "LIMIT", 0.3)
    monkeypatch.setattr(grader, "PATIENCE", 1.0)
    monkeypatch.setattr(grader, "GRACE", 0.3)


def spent():
    """CPU seconds of the worker's children that have ended, which no other process can lengthen."""
    with open(f"/proc/{grader.CURRENT[0].process.pid}/stat") as file:
        ticks = file.read().rpartition(")")[2].split()[13:15]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def graded(completions, golds):
    """Verdicts of a worker of their own, and the CPU seconds that they cost its children."""
    grader.stop()
    assert grade(*EQUAL) is True
    began = spent()
    verdicts = grade_all(completions, golds, "boxed")
    return verdicts, spent() - began


def test_an_answer_that_hangs_costs_two_seconds_and_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        verdicts, seconds = graded([HANGS], ["y+z"])
    assert verdicts == [None]
    assert 1.5 < seconds < 2.2
    assert "left unjudged" in caplog.text
    assert grade(*EQUAL) is True


def test_eight_that_hang_in_one_group_share_their_time_and_the_rest_is_graded():
    completions = [box(f"\\binom{{9999999{i}}}{{5555555{i}}}") for i in range(8)] + [box("x+1"), box("x+2")]
    verdicts, seconds = graded(completions, ["1+x"] * 10)
    assert seconds < 5  # 4.4 s
    assert verdicts == [None] * 8 + [True, False]


def test_equal_answers_of_a_group_are_graded_once():
    verdicts, seconds = graded([HANGS] * 50, ["y+z"] * 50)
    assert verdicts == [None] * 50
    assert seconds < 2.2


def test_the_limit_holds_in_a_thread_and_a_users_alarm_is_left_alone():
    rung, found = [], []
    previous = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        thread = threading.Thread(target=lambda: found.append(grade(HANGS, "y+z", "boxed")))
        thread.start()
        thread.join(40)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert found == [None]
    assert rung == [True]


def test_a_worker_outlives_the_thread_that_needed_it_first():
    grader.stop()
    thread = threading.Thread(target=grade, args=EQUAL)
    thread.start()
    thread.join()
    first = grader.CURRENT[0].process.pid
    time.sleep(0.2)
    assert grade(*EQUAL) is True
    assert grader.CURRENT[0].process.pid == first


def test_a_worker_killed_between_two_answers_is_replaced():
    grader.CURRENT[0].process.kill()
    grader.CURRENT[0].process.wait()
    assert grade(*EQUAL) is True


def test_a_worker_killed_over_an_answer_costs_that_answer():
    threading.Timer(0.5, grader.CURRENT[0].process.kill).start()
    assert grade_all([HANGS, box("x+1")], ["y+z", "1+x"], "boxed") == [None, True]


def test_a_worker_that_never_answers_is_killed(monkeypatch):
    pretend(monkeypatch, "import time; print('ready', flush=True); time.sleep(99)")
    began = time.perf_counter()
    assert grade(*EQUAL) is None
    assert time.perf_counter() - began < 5  # 0.6 s and a Python
    assert not grader.CURRENT[0].usable
    monkeypatch.undo()
    assert grade(*EQUAL) is True


def test_a_worker_that_does_not_start_is_said_to_be_missing(monkeypatch):
    pretend(monkeypatch, "import no_such_engine")
    with pytest.raises(MachineError, match="does not start"):
        grade(*EQUAL)


JUDGES = """
from gspo_lite.rewards.grading.worker import Child
def hoard(answer, gold):
    return bool(bytearray(2**30))
def recurse(answer, gold):
    return recurse(answer, gold)
"""


def test_a_child_that_computes_is_ended_by_its_cpu_time_however_busy_the_machine_is():
    code = """
import multiprocessing, time
from gspo_lite.rewards.grading import worker
def spin(answer, gold):
    while True: pass
def work(answer, gold):
    while time.process_time() < float(answer): pass
    return True
others = [multiprocessing.Process(target=spin, args=("", ""), daemon=True) for _ in range(6)]
for other in others: other.start()
start = time.process_time()
print(worker.Child(work).ask(str(start + 0.4), "", 0.8), worker.Child(spin).ask("", "", 0.2))
"""
    assert fresh(code) == "True None"


def test_a_child_that_waits_is_ended_by_the_clock():
    code = (
        "import time\nfrom gspo_lite.rewards.grading import worker\nworker.PATIENCE = 2.0\n"
        "print(worker.Child(lambda *_: time.sleep(99)).ask('a', 'b', 0.2))"
    )
    began = time.perf_counter()
    assert fresh(code) == "None"
    assert time.perf_counter() - began < 5


def test_a_child_that_wants_too_much_memory_ends_alone():
    assert fresh(JUDGES + "print(Child(hoard).ask('a', 'b', 9.0))") == "None"


def test_what_a_judge_raises_on_hostile_text_is_no_right_answer_and_the_child_goes_on():
    code = JUDGES + "child = Child(recurse)\nprint(child.ask('a', 'b', 9.0), child.ask('a', 'b', 9.0))"
    assert fresh(code) == "False False"


def fresh(code):
    """What a Python of its own prints for this code."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert not done.stderr, done.stderr
    return done.stdout.strip()


def test_the_worker_goes_with_its_parent():
    code = (
        "import os\nfrom gspo_lite.rewards.grading import grader\nfrom gspo_lite.rewards.math import grade\n"
        "grade('\\\\boxed{x+1}', '1+x', 'boxed')\nprint(grader.CURRENT[0].process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    worker = int(fresh(code))
    for _ in range(50):
        if not is_alive(worker):
            return
        time.sleep(0.1)
    pytest.fail("the worker is still there")


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_forked_process_starts_a_worker_of_its_own():
    code = """
import os
from gspo_lite.rewards.grading import grader
from gspo_lite.rewards.math import grade
equal = ("\\\\boxed{x+1}", "1+x", "boxed")
grade(*equal)
mine = grader.CURRENT[0].process.pid
child = os.fork()
if child == 0:
    right = grade(*equal) and grader.CURRENT[0].process.pid != mine
    grader.stop()
    os._exit(0 if right else 1)
print(os.waitpid(child, 0)[1], grade(*equal), grader.CURRENT[0].process.pid == mine)
"""
    assert fresh(code) == "0 True True"


def test_nothing_of_an_answer_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in (
        "__import__('os').mkdir('owned')",
        "\\write18{mkdir owned}",
        "open('owned','w')",
        "(lambda: exit())()",
    ):
        assert grade(box(text), "x+1", "boxed") is False
    assert not (tmp_path / "owned").exists()


def test_files_of_the_current_folder_are_not_imported_by_the_worker(tmp_path, monkeypatch):
    grader.stop()
    (tmp_path / "sympy.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    assert grade(*EQUAL) is True


def test_the_parent_needs_no_engine_for_plain_answers():
    code = (
        "import sys\nfrom gspo_lite.rewards.contract import registry\nfrom gspo_lite.rewards.grading import grader\n"
        "from gspo_lite.rewards.math import grade\n"
        "registry.registered()\nassert grade('#### 1,000', '1000') is True\nassert not grader.CURRENT\n"
        "print([name for name in ('torch', 'transformers', 'sympy', 'math_verify') if name in sys.modules])"
    )
    assert fresh(code) == "[]"


def test_a_worker_started_ahead_is_the_one_that_answers():
    grader.stop()
    grader.start_ahead()
    deadline = time.monotonic() + 60
    while not grader.CURRENT and time.monotonic() < deadline:
        time.sleep(0.05)
    ahead = grader.CURRENT[0].process.pid
    assert grader.verify_all([("1/2", "0.5")]) == [True]
    assert grader.CURRENT[0].process.pid == ahead


@pytest.mark.parametrize(
    ("text", "beyond"),
    [
        ("-" * 12 + "1", True),  # found by fuzzing: each sign is read inside the one before
        ("\\sin x" * 25, True),
        ("\\lim_{x\\to 0}0.5" * 25, True),
        ("- " * 11 + "1", False),
        ("+".join(["\\sin x"] * 24), False),
        ("(" * 13, True),
        ("99999!", True),
    ],
)
def test_what_no_answer_is_costs_no_time(text, beyond):
    from gspo_lite.rewards.grading.symbolic import absurd

    assert absurd(text) is beyond
