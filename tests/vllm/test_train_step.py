"""benchmarks/train_step.py on vLLM's path: the ratio of operations that is held, and every gradient.

Needs the environment that setup.sh makes; elsewhere everything here is skipped.
"""

import subprocess
import sys

import pytest

from tests.benchmarks.test_train_step import BENCHMARKS, by_contender, judge
from tests.vllm.test_colocate import has_cpu_build

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not has_cpu_build(), reason="needs the environment of tests/vllm/setup.sh"),
]


def test_trl_under_vllm_needs_as_many_times_our_operations_as_is_wanted(tmp_path):
    words = ["--path", "vllm", "--counts", "--case", "quick", "--json", str(tmp_path / "found.json")]
    done = subprocess.run([sys.executable, BENCHMARKS / "train_step.py", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    judge(by_contender(tmp_path / "found.json"), "2.5 x by gflop")
