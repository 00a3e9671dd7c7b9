"""How far long work is, in plain lines, on a terminal and in a notebook."""

import os
import pty
import re
import subprocess
import sys

from gspo_lite.system import progress

WORK = """
from gspo_lite.system.progress import live
with live("answering", 40) as view:
    for done in range(1, 41):
        view.update(done, "reward 0.50  accuracy 50%  ratio clipped 12%  cut off 3%  tok/s 1234")
"""


def test_plain_lines_are_few(monkeypatch, capsys):
    seconds = iter(range(1000))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(seconds) * 1.0)
    with progress.live("training", 40) as view:
        for done in range(1, 41):
            view.update(done, "reward 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("  training 1/40  reward 0.5  ")
    assert lines[-1] == "  training 40/40  reward 0.5  0:00 left"
    assert 4 < len(lines) < 20


def test_short_work_without_ends_says_nothing(capsys):
    with progress.live("answering", 3, ends=False) as view:
        for done in (1, 2, 3):
            view.update(done)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_one_line_that_is_drawn_again_and_given_back():
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", WORK], stderr=theirs, env=environment, timeout=60, check=True)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "\x1b[?25l" in shown  # the cursor is hidden
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # and shown again
    drawn = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", part) for part in re.split(r"[\r\n]+", shown)]
    assert any("40/40 reward 0.50" in part for part in drawn)  # the figures give way, not the count
    assert max(map(len, drawn)) <= 80
    assert shown.count("\n") < 5


def test_a_notebook_gets_one_output_that_is_updated(tmp_path):
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell, new_notebook

    raised = WORK.replace("done, ", "done, '<b>' + ") + "        if done == 30:\n            1 / 0\n"
    book = new_notebook(cells=[new_code_cell(WORK), new_code_cell(raised)])
    NotebookClient(book, timeout=120, kernel_name="python3", allow_errors=True).execute()
    (finished,), (stopped, error) = (cell.outputs for cell in book.cells)
    figures = "reward 0.50  accuracy 50%  ratio clipped 12%  cut off 3%  tok/s 1234  in 0:00"
    assert finished.data["text/plain"] == f"  answering 40/40  {figures}"
    assert '<progress value="40" max="40"></progress> 40/40  reward' in finished.data["text/html"]
    assert '<progress value="30" max="40"></progress> 30/40  &lt;b&gt;reward' in stopped.data["text/html"]
    assert error.ename == "ZeroDivisionError"
