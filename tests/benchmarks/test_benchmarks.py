"""The benchmarks run and print what they should; their figures are for a quiet machine."""

import json
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    """Runs a script of benchmarks/ in this process; what it wrote with --json."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def run(name, *words):
        path = tmp_path / f"{name}.json"
        import_module(name).main([*words, "--json", str(path)])
        return json.loads(path.read_text())

    return run


@pytest.mark.slow
def test_end_to_end_lays_two_runs_side_by_side(benchmark, starter, capsys):
    found = benchmark("end_to_end", "--quick", "--profile", "--contenders", "trl")
    ours, theirs = (found["runs"][name][0] for name in ("ours", "trl"))
    assert found["summary"]["trl"]["speed-up"]["training"]["median"] == pytest.approx(
        theirs["training"] / ours["training"]
    )
    assert {"generation", "forward", "backward", "optimizer"} <= set(found["profiles"]["trl"]["parts"])
    assert 0 < ours["positions"] < theirs["positions"]  # a prompt once, and no rows that have ended
    assert theirs["positions"] >= theirs["generated tokens"] > theirs["decode steps"] > 1
    assert "ours is faster: training" in capsys.readouterr().out


def test_scaling_fits_an_exponent_to_steps_of_equal_gradients(benchmark):
    found = benchmark("scaling", "--quick", "--axes", "width")["width"]
    assert found["gradient_error"] < 1e-5
    assert [len(found[name]["seconds"]) for name in ("trl", "ours")] == [2, 2]


def test_an_exponent_is_the_slope_of_the_logarithms(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    exponent = import_module("scaling").exponent
    assert exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)  # 3 x^2


def test_a_ratio_of_other_gradients_is_not_printed(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    scaling = import_module("scaling")
    found = {"seconds": {"trl": [[2.0, 4.0]], "ours": [[1.0, 1.0]]}, "gradient_error": 1e-3}
    assert "no ratio is printed" in scaling.shown("width", scaling.summary([1, 2], found))
    found["gradient_error"] = 1e-7
    assert "ratio      2.00, 4.00" in scaling.shown("width", scaling.summary([1, 2], found))


def test_a_score_is_reached_when_the_mean_of_five_rollouts_is_there(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    seconds_to = import_module("end_to_end").seconds_to
    points = [(float(second), reward) for second, reward in enumerate([0, 1, 0, 1, 0, 1, 1, 1])]
    assert seconds_to(points, 0.6) == 5.0  # 1, 0, 1, 0, 1
    assert seconds_to(points, 0.9) is None


def test_startup_times_every_light_command(benchmark):
    found = benchmark("startup", "--quick")
    assert {"--help", "check quickstart", "rewards list", "import gspo_lite"} <= set(found)
    assert found["python alone"]["median"] < found["--help"]["median"]


def test_the_benchmark_of_a_real_model_goes_on_where_it_ended(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    bench = import_module("real_model")
    figures = {"accuracy": 0.5, "ci95": [0.43, 0.57], "n": 200}
    done = {"arm": "trl", "seed": 42, "before": figures, "after": figures, "seconds": 300, "peak_gib": 4.1}
    results = tmp_path / "real.jsonl"
    results.write_text(json.dumps(done) + "\n")
    asked = []
    monkeypatch.setattr(bench, "measured", lambda arm, seed, *_: asked.append(arm) or done | {"arm": arm, "seed": seed})
    bench.main(["--seeds", "42", "--results", str(results)])
    assert asked == ["gspo", "grpo"]
    assert capsys.readouterr().out.splitlines()[2:] == [
        f"| {arm} | 42 | 50.0% (43% to 57%) | 50.0% (43% to 57%) | 300 | 4.1 GiB |" for arm in ("gspo", "grpo", "trl")
    ]
    bench.main(["--seeds", "42", "--results", str(results)])
    assert asked == ["gspo", "grpo"]
