"""A run of Unsloth's patched trainer that is killed and resumed equals one that was not, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("resume.py")
SCENARIOS = ("gspo_token credit", "gspo beta accumulation", "gspo keep best")  # without names the script runs all


@pytest.mark.slow
@pytest.mark.unsloth
def test_a_killed_run_of_unsloths_trainer_goes_on_bit_for_bit():
    done = subprocess.run([sys.executable, str(SCRIPT), *SCENARIOS], capture_output=True, text=True, timeout=280)
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"scenario"')]
    assert len(results) == 6, done.stderr[-3000:]
    for result in results:
        assert (result["killed"], result["resumed"], result["differ"]) == (-9, 0, []), result
        assert result["saved"], result
