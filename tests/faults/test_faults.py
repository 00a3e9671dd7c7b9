"""The short form of the fault harness: real runs in a process of their own, each row of its table."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("long.py")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_survives_what_is_done_to_it(tmp_path, starter):
    report = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--short", "--json", str(report)],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert report.is_file(), done.stdout + done.stderr
    rows = json.loads(report.read_text())
    assert len(rows) >= 10
    assert [row["fault"] for row in rows if row["survived"] < row["tried"] or not row["tried"]] == [], done.stdout
