"""The oldest TRL that pyproject.toml allows computes the same: the micro-step and parity tests once more, on it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OLDEST = re.search(r'"trl>=([\d.]+)', (ROOT / "pyproject.toml").read_text()).group(1)
TESTS = ("tests/training/test_micro_steps.py", "tests/objective/test_parity_with_trl.py")


@pytest.fixture
def oldest(tmp_path):
    """A folder that holds the oldest TRL alone, to be put before the installed one."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv, which fetches the oldest TRL, is not here")
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), f"trl=={OLDEST}.0"]
    fetched = subprocess.run(command, capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"trl {OLDEST}.0 cannot be fetched: {fetched.stderr.strip()[-200:]}")
    return tmp_path


@pytest.mark.slow
def test_every_micro_step_is_exact_on_the_oldest_trl(oldest):
    environment = {**os.environ, "PYTHONPATH": str(oldest)}
    seen = subprocess.run(
        [sys.executable, "-c", "import trl; print(trl.__version__)"], env=environment, capture_output=True, text=True
    )
    assert seen.stdout.strip() == f"{OLDEST}.0"
    command = [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\d+ passed", done.stdout)
