"""Unsloth's CPU backend with every loading option, through a whole run of two steps, in a process of its own."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("cpu_loading.py")
WAYS = ("4-bit", "4-bit checkpointed", "8-bit", "unquantized", "continued", "full")

pytestmark = [pytest.mark.unsloth, pytest.mark.slow, pytest.mark.skipif(find_spec("unsloth") is None, reason="Unsloth")]


@pytest.fixture(scope="module")
def done(starter):
    root = str(SCRIPT.parents[2])  # the code beside these tests, whatever is installed
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    found = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, timeout=280, env=environment)
    results = [json.loads(line) for line in found.stdout.splitlines() if line.startswith('{"way"')]
    assert len(results) == len(WAYS), found.stderr[-3000:]
    return {one["way"]: one for one in results}, found.stderr


@pytest.mark.parametrize("way", WAYS)
def test_a_run_through_unsloth_trains_in_float32_and_moves_what_it_trains(done, way):
    result = done[0][way]
    assert "error" not in result, result["error"]
    assert result["backend"] == "unsloth"
    assert result["dtypes"] == ["torch.float32"]
    assert result["moved"] > 0.9
    assert result["files"] == ["model.safetensors" if way == "full" else "adapter_model.safetensors"]


def test_what_was_loaded_is_said(done):
    lines = [line for line in done[1].splitlines() if line.startswith("model ")]
    found = dict(zip(WAYS, lines, strict=True))
    assert "Unsloth, 4-bit NF4" in found["4-bit"]
    assert "8-bit weights do not work here: the weights are loaded unquantized" in found["8-bit"]
    assert "Unsloth, float32" in found["unquantized"]
    assert "continues the adapter" in found["continued"]
    assert "all are trained" in found["full"]


def test_a_kl_penalty_on_a_continued_adapter_begins_at_zero(done):
    first, second, *_ = done[0]["continued"]["kl"]
    assert abs(first) < 1e-9 < second
