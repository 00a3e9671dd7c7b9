"""benchmarks/train_step.py: gradients of every case, the ratio of operations that is held, what it refuses to print.

Operations and gradients do not depend on the machine; seconds are for a quiet one. The path of vLLM: tests/vllm.
"""

import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SMALL = {"completions": 32, "width": 64, "heads": 1, "layers": 2, "mean": 11.0, "shortest": 4, "longest": 32}


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module


@pytest.fixture
def counts(module, tmp_path):
    """Counts one case in this process; its rows by contender."""

    def run(case):
        path = tmp_path / "found.json"
        module("train_step").main(["--counts", "--case", case, "--json", str(path)])
        return by_contender(path)

    return run


def by_contender(path):
    return {row["contender"]: row for row in json.loads(path.read_text())["rows"]}


@pytest.mark.parametrize("name", ["short-75", "gsm8k-0", "tail", "nf4", "full"])
def test_every_case_has_the_gradients_of_the_plain_way(module, counts, monkeypatch, name):
    cases = module("step_cases")
    monkeypatch.setitem(cases.CASES, name, replace(cases.CASES[name], **SMALL, prompts=(12, 20)))
    rows = counts(name)
    assert set(rows) == {"stock", "gspo", "gspo_token", "turns"}
    assert all(row["gradient_error"] < 1e-5 for row in rows.values())
    assert rows["gspo"]["generated_tokens"] > rows["gspo"]["decode_steps"] == 32


def judge(rows, target):
    """Every figure that is wanted of a case is reached, and the ratio is among them."""
    assert target in rows["gspo"]["targets"]
    missed = {(name, wanted) for name, row in rows.items() for wanted, met in row["targets"].items() if not met}
    assert missed == set(), rows
    assert rows["gspo_token"]["gflop_over_gspo"] == pytest.approx(1, abs=0.01)


def test_stock_trl_needs_as_many_times_our_operations_as_is_wanted(counts):
    judge(counts("quick"), "8 x by gflop")


@pytest.mark.slow
@pytest.mark.unsloth
@pytest.mark.skipif(find_spec("unsloth") is None, reason="Unsloth")
def test_plain_unsloth_needs_as_many_times_our_operations_as_is_wanted(tmp_path):
    words = ["--path", "unsloth", "--counts", "--case", "quick", "--json", str(tmp_path / "found.json")]
    done = subprocess.run([sys.executable, BENCHMARKS / "train_step.py", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    judge(by_contender(tmp_path / "found.json"), "2 x by gflop")


@pytest.mark.parametrize(
    ("row", "verdicts"),
    [
        ({"contender": "gspo", "gflop_ratio": 2.1}, {"2 x by gflop": True}),
        ({"contender": "gspo", "gflop_ratio": 1.9}, {"2 x by gflop": False}),
        ({"contender": "stock", "gflop_ratio": 1.0}, {}),
        ({"contender": "turns", "gflop_over_gspo": 1.04}, {"1.03 x gspo by gflop": False}),
        ({"contender": "turns", "gflop_over_gspo": 1.0, "seconds_over_gspo": 1.02},
         {"1.03 x gspo by gflop": True, "1.03 x gspo by seconds": True}),
    ],
)  # fmt: skip
def test_what_is_wanted_is_judged(module, row, verdicts):
    found = module("train_step").verdicts({"path": "unsloth", "case": "short-50", "gradient_error": 1e-6, **row})
    assert found == {"gradient gap below 1e-05": True, **verdicts}


def test_no_speed_up_is_printed_where_gradients_differ(module):
    row = {"case": "quick", "contender": "gspo", "gflop": 2.0, "old_gflop": 0.5, "gflop_ratio": 3.0, "targets": {}}
    assert "3.00 x stock by operations" in module("train_step").shown(row | {"gradient_error": 9e-6})
    assert "no speed-up is printed" in module("train_step").shown(row | {"gradient_error": 2e-5})
    assert "no speed-up is printed" in module("train_step").shown(row | {"gradient_error": float("nan")})


def scored(module, advantages):
    """Two completions of one prompt."""
    return module("step_reference").Scored.of({
        "prompt_ids": torch.tensor([[0, 7], [0, 7]]), "prompt_mask": torch.tensor([[0, 1], [0, 1]]),
        "completion_ids": torch.tensor([[5, 1, 0], [6, 4, 1]]), "completion_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]),
        "advantages": advantages,
    })  # fmt: skip


def test_rows_are_told_by_their_tokens_whatever_is_cut_and_reordered(module):
    found = scored(module, torch.tensor([0.5, 0.0]))
    batch = {
        "completion_ids": torch.tensor([[6, 4, 1], [5, 1, 9]]),
        "completion_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
    }
    assert found.rows_of(batch) == [1, 0]
    assert found.teaching() == {0}
    assert scored(module, torch.tensor([[0.0, 0.0, 9.0], [0.0, -0.1, 0.0]])).teaching() == {1}  # 9.0 is at padding


def test_a_row_that_teaches_and_is_trained_nowhere_is_noticed(module):
    found = scored(module, torch.tensor([0.5, -0.5]))
    with pytest.raises(AssertionError, match="in no optimizer step"):
        module("step_reference").plain_gradients(None, None, found, [[0], []])


def test_the_gap_is_that_of_the_worst_step(module):
    right = torch.ones(100)
    assert module("step_reference").gap([right, right], [right, right * 1.25]) == pytest.approx(0.2)  # 0.25 of 1.25


def test_seconds_are_compared_round_by_round(module):
    found = module("train_step").timed([1.0, 2.0, 4.0], [3.0, 8.0, 8.0])
    assert found == {"seconds": 2.0, "speed_up": 3.0, "speed_up_low": 2.0, "speed_up_high": 4.0}


def test_sampling_is_counted_by_rollout(module):
    model = torch.nn.Embedding(10, 2)
    model.get_input_embeddings = lambda: model

    def generate(prompts):
        model(torch.zeros(2, 3, dtype=torch.long))
        model(torch.zeros(2, 1, dtype=torch.long))
        return prompts, [[1], [2, 3]]

    trainer = SimpleNamespace(model=model, _generate=generate, _generate_and_score_completions=lambda inputs: inputs)
    counts = module("marks").Sampling(trainer)
    for _ in range(2):
        trainer._generate_and_score_completions(trainer._generate([[4], [4]]))
        model(torch.zeros(2, 9, dtype=torch.long))  # training, which is not sampling
    assert counts.per_rollout() == {"decode_steps": 2, "positions": 8, "generated_tokens": 3}
