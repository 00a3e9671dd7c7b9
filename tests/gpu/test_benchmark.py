"""benchmarks/gpu.py without a GPU: its contenders on stock TRL side by side, and what it refuses to print.

The whole of it, with Unsloth's contenders, each in a process of its own: python benchmarks/gpu.py --dry-run
"""

import functools
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import gspo_lite
from tests.gpu.random_models import write_random_model

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
FLATS = (0.0, 0.5)
# Talks as a contender: its first rounds are slow, `ours on trl` ends in its sixth, `unsloth` trains other parameters.
STAND_IN = """
import json, sys
name, seconds = sys.argv[1], {"trl": 2.0, "ours on trl": 1.0, "unsloth": 4.0}[sys.argv[1]]
for number, line in enumerate(sys.stdin):
    asked = json.loads(line)
    if name == "ours on trl" and number == 5:
        sys.exit("CUDA out of memory")
    print("a library speaks")
    print("RESULT " + json.dumps({
        "seconds": seconds * (9 if number < 2 else 1), "tokens": 100, "peak_gib": 3.0 + asked["flat"],
        "reserved_gib": 5.0, "parameters": name == "unsloth", "hardware": "here", "gradient_checkpointing": True,
        "autocast": ["bfloat16"]}), flush=True)
"""


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("gpu")


@pytest.fixture
def contender(gpu):
    return import_module("gpu_contender")


@pytest.fixture
def stand_ins(gpu, monkeypatch, tmp_path):
    """Contenders that only talk, in processes of their own."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(gpu, "write_model", lambda shape, dry: tmp_path)
    monkeypatch.setattr(gpu, "command_of", lambda name, folder, dry: [sys.executable, str(script), name])
    monkeypatch.setattr(gpu, "gap", lambda ours, theirs: 1e-9)


def by_name(rows):
    return {(row["contender"], row["flat"]): row for row in rows}


def test_contenders_see_the_same_work_and_find_the_same_gradients(gpu, contender, tmp_path):
    folder = write_random_model("tiny", tmp_path / "tiny")
    tokens, gradients = {}, {}
    for name in ("trl", "ours on trl"):
        trainer, canned = contender.trainer_of(name, folder, True)
        for flat in FLATS:
            canned.deal(flat)
            groups = [canned.rewards[start : start + 8] for start in (0, 8)]
            assert sum(len(set(group)) == 1 for group in groups) == 2 * flat
            gradients[name, flat] = contender.optimise(trainer)[1]
            assert len(gradients[name, flat]) == trainer.args.steps_per_generation // contender.ACCUMULATION
            assert all(gradient.norm() > 0 for gradient in gradients[name, flat])
            torch.save(gradients[name, flat], tmp_path / f"{name}{flat}.pt")
        tokens[name] = canned.tokens
    assert tokens["trl"] == tokens["ours on trl"]
    for flat in FLATS:
        assert gpu.gap(tmp_path / f"ours on trl{flat}.pt", tmp_path / f"trl{flat}.pt") < 1e-5
    assert float((gradients["trl", 0.0][0] - gradients["trl", 0.5][0]).norm()) > 0


def test_trls_contender_trains_as_train_does_with_checkpointing_and_autocast(contender, monkeypatch, tmp_path):
    right = gspo_lite.GSPOConfig
    monkeypatch.setattr(gspo_lite, "GSPOConfig", functools.partial(fields_of, right), raising=False)
    trainer, _ = contender.trainer_of("trl", write_random_model("tiny", tmp_path / "tiny"), True)
    layers = [module for module in trainer.model.modules() if hasattr(module, "gradient_checkpointing")]
    runs, seen = [], contender.autocast_seen(trainer.model)
    layers[-1].register_forward_pre_hook(lambda *_: runs.append(torch.is_grad_enabled()))
    contender.optimise(trainer)
    assert trainer.model.is_gradient_checkpointing
    assert runs.count(True) == 2 * len(seen)  # a checkpointed layer runs again on the way back
    assert set(seen) == {"bfloat16"}


def fields_of(make, **fields):
    """Make the settings in the number type of a GPU, which a dry run leaves out."""
    return make(**{**fields, "bf16": True})


@pytest.fixture
def worker(contender, monkeypatch, tmp_path):
    """Lets a contender work on one round, whose passes are left out; what it was dealt."""
    dealt = []
    trainer = SimpleNamespace(model=torch.nn.Linear(2, 2))
    monkeypatch.setattr(contender, "trainer_of", lambda *_: (trainer, SimpleNamespace(deal=dealt.append, tokens=100)))
    monkeypatch.setattr(contender, "autocast_seen", lambda model: ["off", "off"])
    monkeypatch.setattr(contender, "optimise", lambda trainer: (1.0, [torch.ones(2)]))
    monkeypatch.setattr(sys, "stdin", [json.dumps({"flat": 0.5, "keep": str(tmp_path / "kept.pt")})])

    def work(checkpointing):
        trainer.model.is_gradient_checkpointing = checkpointing
        contender.work("trl", tmp_path, True)
        return dealt

    return work


def test_a_contender_works_on_the_share_it_is_asked_for_and_says_how(worker, tmp_path, capsys):
    assert worker(checkpointing=True) == [0.5]
    told = json.loads(capsys.readouterr().out.removeprefix("RESULT "))
    assert (told["seconds"], told["tokens"], told["gradient_checkpointing"], told["autocast"]) == (
        1.0,
        100,
        True,
        ["off"],
    )
    assert torch.equal(torch.load(tmp_path / "kept.pt")[0], torch.ones(2))


def test_a_contender_without_checkpointing_tells_no_figures(worker):
    with pytest.raises(AssertionError, match="without gradient checkpointing"):
        worker(checkpointing=False)


def test_peaks_are_of_the_round_alone_and_the_card_is_left_to_the_next(contender, monkeypatch):
    card = {"peak": 40, "reserved_peak": 50, "held": 3, "cached": 30}  # GiB, as loading and compiling left it
    fakes = {
        "reset_peak_memory_stats": lambda: card.update(peak=card["held"], reserved_peak=card["cached"]),
        "max_memory_allocated": lambda: card["peak"] * 2**30,
        "max_memory_reserved": lambda: card["reserved_peak"] * 2**30,
        "empty_cache": lambda: card.update(cached=card["held"]),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)

    def a_round():
        card.update(peak=max(card["peak"], 7), reserved_peak=max(card["reserved_peak"], 35), cached=35)
        return "done"

    found, peaks = contender.with_peaks(a_round, on_gpu=True)
    assert found == "done"
    assert peaks == {"peak_gib": 7, "reserved_gib": 35}
    assert card["cached"] == card["held"]


def test_the_parent_leaves_the_model_to_a_process_that_ends(tmp_path):
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import gpu\n"
        "assert (gpu.write_model('tiny', True) / 'config.json').is_file()\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(BENCHMARKS)], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip().splitlines()[-1:] == ["False"], done.stderr


def test_one_that_fails_is_left_out_and_takes_no_figures_along(gpu, stand_ins, tmp_path, capsys):
    kept = tmp_path / "kept.json"
    with pytest.raises(SystemExit, match="failed: ours on trl on tiny"):
        gpu.main(["--contenders", "trl", "ours on trl", "--rounds", "3", "--dry-run", "--json", str(kept)])
    rows = by_name(json.loads(kept.read_text()))
    assert rows["trl", 0.0]["rounds"] == rows["trl", 0.5]["rounds"] == 3
    assert rows["trl", 0.0]["failed"] is None
    ours = rows["ours on trl", 0.0]  # four warm-up rounds, one measured, then it ends
    assert (ours["rounds"], ours["failed"], ours["speed_up"]) == (1, "CUDA out of memory", 2.0)
    assert rows["ours on trl", 0.5]["rounds"] == 0
    printed = capsys.readouterr()
    assert printed.err == "ours on trl failed and is left out from here on:\nCUDA out of memory\n"  # and only once
    assert "not measured: CUDA out of memory" in printed.out


def test_figures_are_kept_after_every_turn(gpu, stand_ins):
    seen = []
    gpu.measure("tiny", FLATS, ["trl"], 2, True, lambda rows: seen.append([row["rounds"] for row in rows]))
    assert seen == [[0, 0], [0, 0], [1, 1], [2, 2]]  # two of the turns warm up


def test_shares_of_flat_groups_are_measured_apart_and_say_so(gpu, stand_ins, tmp_path, capsys):
    kept = tmp_path / "kept.json"
    gpu.main(["--contenders", "trl", "--rounds", "2", "--dry-run", "--json", str(kept)])
    rows = json.loads(kept.read_text())
    assert [(row["flat"], row["peak_gib"], row["reserved_gib"]) for row in rows] == [(0.0, 3.0, 5.0), (0.5, 3.5, 5.0)]
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert "flat   0%" in first
    assert "flat  50%" in second


def test_the_first_round_is_told_apart_and_two_do_not_count(gpu, stand_ins, tmp_path, capsys):
    kept = tmp_path / "kept.json"
    gpu.main(["--contenders", "trl", "--flat", "0.5", "--rounds", "1", "--dry-run", "--json", str(kept)])
    (row,) = json.loads(kept.read_text())
    assert (row["compile_s"], row["seconds"], row["tokens_per_second"]) == (
        18.0,
        2.0,
        50.0,
    )  # 2 rounds take 9 x as long
    assert (row["gradient_checkpointing"], row["autocast"]) == (True, ["bfloat16"])
    assert "first round 18.00 s" in capsys.readouterr().out


def test_other_parameters_are_not_compared(gpu, stand_ins):
    rows = by_name(gpu.measure("tiny", [0.0], ["trl", "unsloth"], 1, True, lambda rows: None))
    assert rows["unsloth", 0.0]["gradient_error"] == float("inf")
    assert rows["unsloth", 0.0]["speed_up"] is None


@pytest.mark.parametrize(("error", "printed"), [(1e-5, True), (1e-3, False)])
def test_no_speed_up_is_printed_where_gradients_differ(gpu, tmp_path, error, printed):
    told = {"seconds": 1.0, "tokens": 500, "peak_gib": 2.0, "reserved_gib": 2.0, "hardware": "here",
            "gradient_checkpointing": True, "autocast": []}  # fmt: skip
    running = {name: gpu.Running(name, None, tmp_path, {0.0: [told] * 3}) for name in ("trl", "unsloth")}
    row = gpu.judged("tiny", 0.0, running, "unsloth", {("unsloth", 0.0): error}, True)
    assert row["gradient_error"] == error
    assert (row["speed_up"] is not None) == printed
    assert ("no speed-up is printed" in gpu.shown(row)) == (not printed)
    assert (" x trl  gradient " in gpu.shown(row)) == printed
    assert row["tokens_per_second"] == 500


def test_gradients_differ_by_the_worst_step(gpu, tmp_path):
    right = torch.ones(100)
    torch.save([right, right], tmp_path / "a.pt")
    torch.save([right, right * 1.25], tmp_path / "b.pt")
    assert gpu.gap(tmp_path / "a.pt", tmp_path / "b.pt") == pytest.approx(0.2)  # 0.25 of 1.25
