"""The short form of the fuzzing: thousands of hostile inputs to everything that reads a model's text."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("fuzz.py")


def test_hostile_text_and_recipes_crash_nothing(tmp_path):
    report = tmp_path / "table.json"
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--inputs", "5000", "--json", str(report)], capture_output=True, text=True
    )
    assert report.is_file(), done.stderr
    tallies = json.loads(report.read_text())
    assert sum(one["inputs"] for one in tallies) >= 5_000
    assert len(tallies) > 40
    assert [one["notes"] for one in tallies if one["failures"]] == [], done.stdout
