"""benchmarks/gpu.py without a GPU: its contenders on stock TRL side by side, and what it refuses to print.

The whole of it, with Unsloth's contenders, each in a process of its own: python benchmarks/gpu.py --dry-run
"""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from tests.gpu.random_models import write_random_model

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(SCRIPT.parent))  # it borrows the rollout of train_step.py
    specification = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module
    sys.path.remove(str(SCRIPT.parent))


def test_contenders_see_the_same_work_and_find_the_same_gradients(benchmark, tmp_path):
    folder = write_random_model("tiny", tmp_path / "tiny")
    told = {}
    for name in ("trl", "ours on trl"):
        trainer, tokens = benchmark.trainer_of(name, folder, True)
        seconds, gradients = benchmark.optimise(trainer)
        torch.save(gradients, folder / f"{name}.pt")
        assert len(gradients) == trainer.args.steps_per_generation // benchmark.ACCUMULATION
        assert all(gradient.norm() > 0 for gradient in gradients)
        told[name] = [{"seconds": seconds, "tokens": tokens, "peak_gib": 1.0, "parameters": 7, "hardware": "here"}]
    assert told["trl"][0]["tokens"] == told["ours on trl"][0]["tokens"]
    result = benchmark.judged("ours on trl", "tiny", told, folder, True)
    assert result["gradient_error"] < 1e-5
    assert result["speed_up"] == pytest.approx(told["trl"][0]["seconds"] / told["ours on trl"][0]["seconds"])
    assert " x trl  gradient " in benchmark.shown(result)


@pytest.mark.parametrize(("off", "printed"), [(1e-5, True), (1e-3, False)])
def test_no_speed_up_is_printed_where_gradients_differ(benchmark, tmp_path, off, printed):
    right = torch.ones(100)
    torch.save([right], tmp_path / "trl.pt")
    torch.save([right * (1 + off)], tmp_path / "unsloth.pt")
    rounds = [{"seconds": 1.0, "tokens": 500, "peak_gib": 2.0, "parameters": 7, "hardware": "here"}]
    result = benchmark.judged("unsloth", "tiny", {"trl": rounds, "unsloth": rounds}, tmp_path, True)
    assert result["gradient_error"] == pytest.approx(off, rel=0.05)
    assert (result["speed_up"] is not None) == printed
    assert ("no speed-up is printed" in benchmark.shown(result)) == (not printed)
    assert result["tokens_per_second"] == 500
