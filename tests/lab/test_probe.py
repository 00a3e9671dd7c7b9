"""`gspo-lite probe`: the noise of the ratio, measured by the run's own trainer with weights that do not move."""

import json

import pytest
import torch

from gspo_lite import load_recipe
from gspo_lite.cli import app
from gspo_lite.lab.probe import Noise, Probe, lines_of, noise, probe
from gspo_lite.run import run
from gspo_lite.training.trainer import GSPOTrainer

QUICK = ["training.per_device_train_batch_size=16", "data.limit=32", "data.eval.limit=8"]


def noisy(monkeypatch, sd):
    """Old log-probs with the error another kernel would have: the same for all tokens of a sequence."""
    exact = GSPOTrainer._get_per_token_logps_and_entropies

    def inexact(self, *args, **kwargs):
        result = exact(self, *args, **kwargs)
        if torch.is_grad_enabled():
            return result
        return result[0] + sd * torch.randn(len(result[0]), 1), *result[1:]

    monkeypatch.setattr(GSPOTrainer, "_get_per_token_logps_and_entropies", inexact)


def test_an_exact_path_has_no_noise(starter):
    found = probe(load_recipe("quickstart", QUICK).recipe)
    assert found.trainer.n == 64  # 16 completions x 4 mini-batches
    assert found.trainer.floor < 1e-6
    assert found.trainer.outside == 0
    assert 0 < found.sampler.floor < 1e-6  # our own sampler, by another order of the same sums
    assert found.smallest_epsilon == pytest.approx(4 * found.trainer.floor)


@pytest.mark.parametrize("algorithm", ["gspo", "gspo_token"])
def test_noise_is_found_and_its_cut_counted(algorithm, monkeypatch, starter):
    noisy(monkeypatch, 1e-3)
    found = probe(load_recipe("quickstart", [*QUICK, f"objective.algorithm={algorithm}"]).recipe)
    assert 0.7e-3 < found.trainer.floor < 1.4e-3
    # a normal deviate of sd 1e-3 lies outside -3e-4 .. 4e-4 with probability 0.38 + 0.34
    assert 0.5 < found.trainer.outside < 0.9
    assert "would cut noise" in lines_of(found)[-1]


def test_a_run_warns_of_it_once_and_records_it(monkeypatch, tmp_path, capsys, starter):
    monkeypatch.chdir(tmp_path)
    noisy(monkeypatch, 1e-3)
    folder = run(load_recipe("quickstart", [*QUICK, "training.max_steps=9"]).recipe).folder
    said = capsys.readouterr().err
    assert said.count("warning: the noise floor sd(log s) is") == 1
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps if "gspo/noise_floor" in step] == [1]  # later rollouts compare nothing there


def test_a_quiet_run_does_not_warn(tmp_path, monkeypatch, capsys, starter):
    monkeypatch.chdir(tmp_path)
    run(load_recipe("quickstart", [*QUICK, "training.max_steps=2"]).recipe)
    assert "noise floor" not in capsys.readouterr().err


def test_figures_of_noise():
    found = noise([0.0, 1e-3, -1e-3, 0.0], epsilon=5e-4, epsilon_high=2e-3)
    assert found.floor == pytest.approx((2e-6 / 4) ** 0.5)  # sd of 0, 0.001, -0.001, 0
    assert found.outside == 0.25  # 1 - 0.001 is below 1 - 0.0005; 1 + 0.001 is inside
    assert (found.low, found.high, found.n) == (-1e-3, 1e-3, 4)


def test_the_sampler_is_reported_where_it_scores():
    quiet, loud = Noise(8, 1e-6, 0.0, -2e-6, 2e-6, 0.0), Noise(8, 1e-2, 1e-3, -0.02, 0.03, 0.9)
    text = "\n".join(lines_of(Probe("gspo", 3e-4, 4e-4, quiet, loud, 4e-6)))
    assert "sampler and trainer: noise floor sd(log s) 1.0e-02" in text
    assert "90.0% of sequences outside the clip" in text
    assert "3.0e-04 is wide enough" in text


def test_the_command_prints_json(starter):
    from typer.testing import CliRunner

    sets = [part for pair in QUICK for part in ("--set", pair)]
    result = CliRunner().invoke(app, ["probe", "quickstart", *sets, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["trainer"]["n"] == 64
