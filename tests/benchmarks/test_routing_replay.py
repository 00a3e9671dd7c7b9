"""What routing replay is measured with: choices that are recorded, replayed, and counted where they change."""

import json
from importlib import import_module
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("routing_replay")


@pytest.fixture
def scored(bench):
    """A random mixture, ids, their mask and old log-probs, and the choices behind them."""
    from gspo_lite.models.starter import build_tokenizer

    model = bench.mixture(build_tokenizer()).eval()
    ids = torch.randint(4, 260, (3, 20), generator=torch.Generator().manual_seed(1))
    mask, routes = torch.ones(3, 19), []
    with torch.no_grad(), bench.recorded(model, routes):
        old = bench.log_probs(model, ids, mask)
    return model, ids, mask, old, routes


def test_the_choices_of_unmoved_weights_change_nothing(bench, scored):
    model, ids, mask, old, routes = scored
    figures = bench.moved(model, ids, mask, old, routes)
    assert [tuple(one.shape) for one in routes] == [(60, 4)] * 4
    assert figures["choices changed"] == figures["tokens rerouted"] == 0
    assert figures["token natural largest"] == 0
    assert figures["token replay largest"] < 1e-5


def test_other_choices_are_followed_and_counted(bench, scored):
    model, ids, mask, old, routes = scored
    routes[0][0, 0] = next(expert for expert in range(16) if expert not in routes[0][0])
    figures = bench.moved(model, ids, mask, old, routes)
    assert figures["choices changed"] == pytest.approx(1 / (60 * 4 * 4), rel=1e-3)
    assert figures["tokens rerouted"] == pytest.approx(1 / 60, rel=1e-3)
    assert figures["token replay largest"] > 0 == figures["token natural largest"]


def test_it_runs_and_prints_both_levels(bench, tmp_path, capsys):
    path = tmp_path / "found.json"
    bench.main(["--warm-up", "0", "--rollouts", "1", "--train", "attention", "--json", str(path)])
    found = json.loads(path.read_text())
    assert len(found["steps"]) == 4
    told = capsys.readouterr().out
    assert told.count("| token |") == told.count("| sequence |") == 4
