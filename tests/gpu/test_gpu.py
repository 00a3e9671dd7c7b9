"""On a CUDA GPU: quickstart and real shapes through Unsloth, resume, memory against `plan`, parity with the definition.

    python -m pytest -m gpu tests/gpu -n 0 -s                              from the repository's root; over 15 minutes
    python -m pytest -m gpu tests/gpu -n 0 -s -k "micro_step or notices"   a part of it, a minute or so; others are
                                      "0.6B", "1.7B", "4B", "quickstart", "resumed", "kind", "noise", "packing"

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

from tests.gpu.scenarios import KINDS, SHAPES, SIZES
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


def told(name):
    return lines_of("-m", "tests.gpu.scenarios", name)[name]


def record(result, record_property):
    for key in ("hardware", "peak_gib", "phases", "predicted", "moved", "before", "after"):
        if key in result:
            record_property(key, result[key])
            print(f"{result['scenario']}: {key} {result[key]}")


def scenario(name, record_property):
    result = told(name)
    record(result, record_property)
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


@pytest.fixture(scope="module", params=SHAPES)
def real_shape(request):
    """One run for both tests of a shape: a peak that `plan` did not predict hides nothing of the training."""
    return told(request.param)


def test_a_real_shape_trains(real_shape, record_property):
    record(real_shape, record_property)
    judge(real_shape, SIZES[False]["steps"])
    assert real_shape["patched"]


def test_a_real_shape_takes_the_memory_that_plan_predicts(real_shape):
    """Where it does not, peaks by phase beside what was predicted of each phase say which term is wrong."""
    figures = {key: real_shape[key] for key in ("phases", "predicted")}
    assert real_shape["peak_gib"] == pytest.approx(max(real_shape["predicted"].values()), rel=0.15), figures


def test_a_resumed_run_goes_on_as_if_it_had_not_ended(record_property):
    result = scenario("resume", record_property)
    judge_resume(result)


def judge_resume(result):
    """The rollout after the resume is the one that the whole run sampled there, by equal weights; training rounds."""
    whole, parts = result["whole"], result["parts"]
    assert whole["steps"] == parts["steps"] == list(range(1, 9))
    assert parts["reward"] == pytest.approx(whole["reward"], abs=1e-6)
    assert parts["loss"] == pytest.approx(whole["loss"], abs=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_of_model_or_engine_trains(kind, record_property):
    result = scenario(kind, record_property)
    assert result["engine"] == "transformers"  # also where vLLM was wanted if it is there
    assert len(result["steps"]) == SIZES[False]["steps"]
    assert result["moved"] >= 0.9  # an expert that no token was sent to has no gradient


def test_the_noise_of_an_unchanged_policy_is_known(record_property):
    found = printed(ROOT / "benchmarks" / "gpu_kit" / "noise.py")
    assert len(found) == 3
    for one in found:
        record_property(f"noise of log s, {one['noise of log s']}", one["trainer"])
        print(one)
        assert one["trainer"] != "failed"


def printed(script):
    """What a script of the kit prints after RESULT."""
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=290, cwd=ROOT)
    return [json.loads(line.removeprefix("RESULT ")) for line in done.stdout.splitlines() if line.startswith("RESULT ")]


CREDIT = ("ours on unsloth unpacked, credit", "ours on unsloth, credit")
EQUAL = ("ours on unsloth", "ours on unsloth, token")


def test_packing_changes_no_gradient_of_gspo_token_through_fast_language_model(record_property, tmp_path):
    """An advantage for every token, packed and grouped as it comes against neither; and constant ones against gspo."""
    script, kept = ROOT / "benchmarks" / "gpu.py", tmp_path / "rows.json"
    words = ["--shapes", "Qwen3-0.6B", "--flat", "0.5", "--rounds", "1", "--contenders", *CREDIT, *EQUAL]
    subprocess.run([sys.executable, script, *words, "--json", kept], check=True, timeout=290, cwd=ROOT)
    rows = {row["contender"]: row for row in json.loads(kept.read_text())}
    for name in (CREDIT[1], EQUAL[1]):
        figures = {key: rows[name][key] for key in ("gradient_error", "lowest_cosine", "of_module")}
        record_property(name, figures)
        print(name, figures)
        assert rows[name]["speed_up"] is not None, figures  # which is None where gradients differ
        assert rows[name]["lowest_cosine"] > 0.9


@pytest.fixture(scope="module")
def parity():
    return lines_of(patched_trainer.__file__, "--cuda", *PARITY, CONTROL)


@pytest.mark.parametrize("name", PARITY)
def test_every_micro_step_of_the_patched_trainer_equals_the_float64_twin(parity, name, record_property):
    gaps = parity[name]["gaps"]
    assert gaps
    for key in ("loss", "gradient"):
        record_property(f"worst gap of the {key}", max(gap[key] for gap in gaps))
    for gap in gaps:
        assert gap["loss"] < LOSS_GAP
        assert gap["gradient"] < GRADIENT_GAP
    assert max(gap["largest_log_ratio"] for gap in gaps) > 0.1  # off-policy, beyond the clip


def test_the_comparison_notices_a_wrong_gradient(parity):
    assert max(gap["gradient"] for gap in parity[CONTROL]["gaps"]) > 0.1
