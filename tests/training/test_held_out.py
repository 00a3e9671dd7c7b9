"""Held-out problems measured while training: nothing else changes, the best step is kept, training ends early."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from gspo_lite import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.models.generate import ready_to_generate
from gspo_lite.recipe.check import check_recipe
from gspo_lite.run import run
from gspo_lite.training.watch.callbacks import MetricsWriter, TokenClock
from tests.faults.zygote import TIMINGS
from tests.test_run import rows_of

WATCHED = ["training.eval_steps=2", "data.eval.during_training=6"]
# A reward that draws from both generators: what evaluating draws must not be missing in training.
DRAWS = """
import random
import numpy

def drawn(completions, **_):
    return [random.random() + numpy.random.rand() + (len(one[0]["content"]) % 2) for one in completions]
"""


def recipe_of(quick, *sets, output=None):
    return load_recipe("quickstart", [*quick, *sets], output=output).recipe


def learned(folder):
    """What a run has learned and logged, without clocks and held-out figures."""
    rows = [
        {k: v for k, v in row.items() if k not in TIMINGS and not k.endswith("/seconds") and not k.startswith("eval_")}
        for row in rows_of(folder / "metrics.jsonl")
    ]
    return rows, rows_of(folder / "completions.jsonl"), weights(folder / "adapter")


def weights(folder):
    return {name: tensor.tolist() for name, tensor in load_file(folder / "adapter_model.safetensors").items()}


def scripted(monkeypatch, *accuracies):
    """Let the evaluations during training find these accuracies, one after the other."""
    coming = iter(accuracies)

    def evaluate_greedy(*_, **__):
        found = next(coming)
        figures = {"accuracy": found, "ci95": [found - 0.01, found + 0.01], "format_rate": 1.0, "mean_tokens": 9.0}
        return type("Evaluation", (), {"figures": {**figures, "n": 6, "rewards": {}}})

    monkeypatch.setattr("gspo_lite.run.evaluate_greedy", evaluate_greedy)


@pytest.fixture
def home(tmp_path, monkeypatch, starter):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_evaluating_changes_nothing_else(home, quick):
    (home / "mine.py").write_text(DRAWS)
    sets = [
        "training.max_steps=8",
        "training.gradient_checkpointing=true",
        "rewards=[{name: math_correct}, {name: 'mine.py:drawn'}]",
    ]
    plain = run(recipe_of(quick, *sets, output="plain")).folder
    watched = run(recipe_of(quick, *sets, *WATCHED, output="watched")).folder
    assert learned(watched) == learned(plain)
    rows = rows_of(watched / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert ["eval_accuracy" in row for row in rows] == [False, True] * 4
    assert (rows[1]["eval_n"], rows[1]["eval_training_reward"]) == (6, rows[0]["reward"])
    assert rows[3]["eval_training_reward"] == rows[0]["reward"]  # the first four steps are on one rollout
    assert rows[5]["eval_training_reward"] == rows[4]["reward"]
    assert 0 <= rows[1]["eval_accuracy_low"] <= rows[1]["eval_accuracy"] <= rows[1]["eval_accuracy_high"] <= 1


def test_figures_while_training_are_those_of_evaluate(home, quick):
    folder = run(recipe_of(quick, "training.eval_steps=3", "data.eval.during_training=null")).folder
    last, after = rows_of(folder / "metrics.jsonl")[-1], json.loads((folder / "eval.json").read_text())["after"]
    assert (last["eval_accuracy"], [last["eval_accuracy_low"], last["eval_accuracy_high"]], last["eval_n"]) == (
        after["accuracy"], after["ci95"], after["n"],
    )  # fmt: skip
    assert last["eval_rewards/think_format/mean"] == after["rewards"]["think_format"]
    assert "step" not in after


@pytest.mark.parametrize(
    ("saves", "limit", "left"),
    [
        ("null", "1", {3}), ("null", "2", {1, 3}), ("null", "null", {1, 3}),
        ("2", "1", {3}), ("2", "2", {3, 4}), ("3", "null", {1, 3, 4}),
    ],
)  # fmt: skip
def test_the_best_step_is_saved_measured_and_told(home, quick, monkeypatch, capsys, saves, limit, left):
    scripted(monkeypatch, 0.4, 0.3, 0.6, 0.6)
    sets = ["training.eval_steps=1", f"training.save_steps={saves}", f"output.save_total_limit={limit}"]
    result = run(recipe_of(quick, *sets, "output.keep_best=true"))
    folder = result.folder
    best = folder / "checkpoints" / "checkpoint-3"
    assert weights(folder / "adapter") == weights(best)
    there = {int(path.name.rpartition("-")[2]) for path in best.parent.glob("checkpoint-*")}
    assert there == left
    assert json.loads((folder / "eval.json").read_text())["after"]["step"] == 3
    said = "The adapter is that of step 3, the best of 4 evaluations in training: 60.0% (59% to 61%) of 6 held-out"
    assert said in result.summary
    assert said in (folder / "report.html").read_text()
    assert "(kept: step 3)" in (folder / "README.md").read_text()
    printed = capsys.readouterr().err
    assert "held out step 2: accuracy 30.0% (29% to 31%), best 40.0% at step 1" in printed
    assert "held out step 3: accuracy 60.0% (59% to 61%), the best so far" in printed


def test_training_ends_early_and_a_resumed_run_ends_at_the_same_step(home, quick, monkeypatch):
    scripted(monkeypatch, 0.4, 0.6, 0.5, 0.6, 0.0)
    sets = ["training.eval_steps=1", "training.save_steps=3", "training.stop_early=2", "training.max_steps=9"]
    result = run(recipe_of(quick, *sets, "output.keep_best=true"))
    steps = rows_of(result.folder / "metrics.jsonl")
    assert len(steps) == 4
    reason = "2 evaluations without a new best: held-out accuracy 60.0%, after 60.0% at step 2"
    (event,) = rows_of(result.folder / "events.jsonl")
    assert (event["step"], event["kind"], event["text"]) == (4, "stopped early", reason)
    assert f"Stopped early: {reason}." in result.summary
    assert "Finished: 4 of 9 steps." in (result.folder / "report.html").read_text()
    again = run(recipe_of(quick, *sets, "output.keep_best=true"), resume=True)  # takes no step, and loads the best
    assert rows_of(again.folder / "metrics.jsonl") == steps
    assert weights(again.folder / "adapter") == weights(result.folder / "checkpoints" / "checkpoint-2")
    assert again.evaluation["after"] == result.evaluation["after"]


@pytest.mark.slow
def test_the_best_of_a_folder_that_moved_is_found(home, quick, monkeypatch):
    scripted(monkeypatch, 0.4, 0.6, 0.5, 0.5, 0.5, 0.5)
    sets = ["training.eval_steps=1", "output.keep_best=true"]
    first = run(recipe_of(quick, *sets, "training.save_steps=4", output="one")).folder
    best = weights(first / "checkpoints" / "checkpoint-2")
    first.rename("two")
    moved = run(recipe_of(quick, *sets, "training.max_steps=6", output="two"), resume=True)  # saves nothing more
    assert moved.evaluation["after"]["step"] == 2
    assert weights(moved.folder / "adapter") == best


def test_problems_that_cannot_be_judged_are_refused_where_accuracy_decides(home, quick):
    rows = "".join(json.dumps({"prompt": f"say {n}"}) + "\n" for n in range(12))
    (home / "rows.jsonl").write_text(rows)
    sets = ["data.source=rows.jsonl", "data.subset=null", "rewards=[{name: think_format}]", "data.eval.limit=4"]
    sets += ["training.eval_steps=2", "output.keep_best=true"]
    with pytest.raises(UsageError, match=r"`output.keep_best` need held-out accuracy, but the held-out problems have"):
        run(recipe_of(quick, *sets))


def test_the_log_in_memory_keeps_what_ending_early_goes_by(tmp_path):
    log = [{"step": n, **({"eval_accuracy": 0.5} if n in (3, 140) else {})} for n in range(1, 151)]
    state = SimpleNamespace(global_step=150, log_history=log)
    MetricsWriter(tmp_path / "metrics.jsonl").on_log(None, state, None, {"loss": 0.0})
    assert [row["step"] for row in state.log_history] == [3, *range(51, 151)]


def test_seconds_of_an_evaluation_do_not_count_as_training(monkeypatch):
    now = iter([10.0, 20.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    clock = TokenClock()
    clock.update(0.0)
    clock.skip(6.0)
    clock.update(400.0)
    assert clock.rate == 100.0  # tokens in 10 - 6 seconds


def test_modes_and_checkpointing_come_back_module_by_module():
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Sequential(torch.nn.Dropout()), torch.nn.ReLU())
    model[1].gradient_checkpointing, model[2].gradient_checkpointing = True, False
    model[0].eval()
    with ready_to_generate(model):
        assert not any(module.training for module in model.modules())
        assert not model[1].gradient_checkpointing
    assert [module.training for module in model.modules()] == [True, False, True, True, True]
    assert (model[1].gradient_checkpointing, model[2].gradient_checkpointing) == (True, False)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["output.keep_best=true"], "needs held-out accuracy during training; set training.eval_steps"),
        (["training.stop_early=3"], "needs held-out accuracy during training; set training.eval_steps"),
    ],
)
def test_what_cannot_work_is_refused(quick, sets, said):
    from gspo_lite.errors import RecipeError

    with pytest.raises(RecipeError, match=re.escape(said)):
        load_recipe("quickstart", [*quick, *sets])
    assert check_recipe(recipe_of(quick, "output.keep_best=true", "training.eval_steps=3")) == []
