"""On a CUDA GPU: quickstart and real shapes through Unsloth, resume, memory against `plan`, parity with the definition.

    python -m pytest -m gpu tests/gpu                  one command, from the repository's root; about 10 minutes
    python -m pytest -m gpu tests/gpu -k "0.6B"        a part of it

What a bare machine with torch and transformers lacks for it is packed by benchmarks/gpu_kit. Every scenario is a
process of its own. Without a GPU `test_dry_run.py` takes the same way on a CPU.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.gpu.scenarios import SHAPES, SIZES
from tests.unsloth import patched_trainer

ROOT = Path(__file__).resolve().parents[2]
PARITY = ("gspo", "gspo_token", "gspo_token credit", "gspo_token credit beta", "gspo_token credit dapo")
CONTROL = "control: no stop-gradient"
# Sums on a GPU come in another order each time; float32 leaves about 1e-6 of a gradient to that.
LOSS_GAP, GRADIENT_GAP = 1e-5, 1e-4

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="needs a CUDA GPU; test_dry_run.py takes the way on a CPU"
    ),
]


def lines_of(*words, timeout=290):
    """The JSON lines of a script, by scenario."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=timeout, cwd=ROOT, env=environment
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"scenario"')]
    assert found, done.stderr[-3000:]
    for one in found:
        assert "error" not in one, f"{one['error']}\n{done.stderr[-3000:]}"
    return {one["scenario"]: one for one in found}


def scenario(name, record_property):
    result = lines_of("-m", "tests.gpu.scenarios", name)[name]
    for key in ("hardware", "peak_gib", "predicted", "moved", "before", "after"):
        if key in result:
            record_property(key, result[key])
            print(f"{name}: {key} {result[key]}")
    return result


def judge(result, steps):
    """What holds for every run through Unsloth, on a GPU as in the dry run."""
    assert (result["backend"], result["engine"]) == ("unsloth", "transformers")
    assert result["steps"] == list(range(1, steps + 1))
    assert all(abs(value) < 10 for value in result["loss"])
    assert result["dtypes"] == ["torch.float32"]
    assert result["moved"] >= 0.99


def test_quickstart_learns_through_unsloth(record_property):
    result = scenario("quickstart", record_property)
    judge(result, 160)
    assert result["patched"]  # Unsloth's own trainer, with our level in it
    assert result["after"] > result["before"] + 0.1  # in bfloat16, where the noise is beyond the clip


@pytest.mark.parametrize("name", SHAPES)
def test_a_real_shape_in_nf4_trains_and_takes_the_memory_that_plan_predicts(name, record_property):
    result = scenario(name, record_property)
    judge(result, SIZES[False]["steps"])
    assert result["patched"]
    assert result["peak_gib"] == pytest.approx(max(result["predicted"].values()), rel=0.15)


def test_a_resumed_run_goes_on_as_if_it_had_not_ended(record_property):
    result = scenario("resume", record_property)
    judge_resume(result, tolerance=1e-2)


def judge_resume(result, tolerance):
    """The first rollout after the resume is the one that the whole run took there."""
    whole, parts = result["whole"], result["parts"]
    assert whole["steps"] == parts["steps"] == list(range(1, 9))
    assert parts["reward"] == pytest.approx(whole["reward"], abs=tolerance)
    assert parts["loss"] == pytest.approx(whole["loss"], abs=tolerance)


@pytest.fixture(scope="module")
def parity():
    return lines_of(patched_trainer.__file__, "--cuda", *PARITY, CONTROL)


@pytest.mark.parametrize("name", PARITY)
def test_every_micro_step_of_the_patched_trainer_equals_the_float64_twin(parity, name):
    gaps = parity[name]["gaps"]
    assert gaps
    for gap in gaps:
        assert gap["loss"] < LOSS_GAP
        assert gap["gradient"] < GRADIENT_GAP
    assert max(gap["largest_log_ratio"] for gap in gaps) > 0.1  # off-policy, beyond the clip


def test_the_comparison_notices_a_wrong_gradient(parity):
    assert max(gap["gradient"] for gap in parity[CONTROL]["gaps"]) > 0.1
