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
    if asked.get("whole"):
        told = {"whole_seconds": 5.0 if number == 4 else 9.0, "sampling_seconds": 4.0, "sampled_tokens": 100}
        print("RESULT " + json.dumps(told), flush=True)
        continue
    print("RESULT " + json.dumps({
        "seconds": seconds * (9 if number < 2 else 1), "tokens": 100, "peak_gib": 3.0 + asked["flat"],
        "reserved_gib": 5.0, "steps": [[0, 1]], "parameters": name == "unsloth", "hardware": "here",
        "gradient_checkpointing": True, "autocast": ["bfloat16"]}), flush=True)
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
    monkeypatch.setattr(gpu, "command_of", lambda name, folder, case, dry: [sys.executable, str(script), name])
    monkeypatch.setattr(gpu, "gaps", lambda ours, theirs: (1e-9, 0.5, "up_proj"))


def by_name(rows):
    return {(row["contender"], row["flat"]): row for row in rows}


def test_contenders_train_the_same_rows_and_find_the_same_gradients(gpu, contender, tmp_path):
    folder = write_random_model("tiny", tmp_path / "tiny")
    told, trainers = {}, {}
    for name in ("ours on trl", "trl"):
        trainers[name] = contender.trainer_of(name, folder, contender.TINY, True)
        for flat in FLATS:
            asked = {"flat": flat, "keep": tmp_path / f"{name}{flat}", "steps": None}
            if name == "trl":
                asked["steps"] = told["ours on trl", flat]["steps"]
            told[name, flat] = contender.answered(asked, *trainers[name], True)
            rewards = trainers[name][1].rewards
            assert sum(len(set(rewards[start : start + 8])) == 1 for start in (0, 8)) == 2 * flat
    for flat in FLATS:
        ours, theirs = told["ours on trl", flat], told["trl", flat]
        assert (ours["tokens"], ours["steps"]) == (theirs["tokens"], theirs["steps"])
        assert sum(map(len, ours["steps"])) == 16 * (1 - flat)
        error, cosine, _ = gpu.gaps(tmp_path / f"ours on trl{flat}", tmp_path / f"trl{flat}")
        assert error < 1e-5
        assert cosine > 1 - 1e-5
    whole = contender.answered({"flat": 0.0, "whole": True}, *trainers["ours on trl"], True)
    assert whole["whole_seconds"] > whole["sampling_seconds"] > 0
    assert 16 < whole["sampled_tokens"] <= 16 * 8


def test_rows_that_cannot_teach_fill_up_the_steps_and_none_that_can_is_lost(contender, monkeypatch):
    handed_out, scored_type = import_module("gpu_rows").handed_out, import_module("step_reference").Scored
    ids, ones = torch.arange(8).reshape(4, 2), torch.ones(4, 2, dtype=torch.long)
    pool = {"prompt_ids": ids, "prompt_mask": ones, "completion_ids": ids, "completion_mask": ones,
            "advantages": torch.tensor([0.0, 1.0, 0.0, -1.0])}  # fmt: skip
    batches = [{name: value[rows] for name, value in pool.items()} for rows in ([3, 0], [2, 1])]
    scored = scored_type.of(pool)
    found = handed_out(batches, scored, [[3, 1], []])
    assert scored.rows_of(found[0]) == [3, 1]
    assert set(scored.rows_of(found[1])) == {0, 2}
    assert found[0]["advantages"].tolist() == [-1.0, 1.0]
    with pytest.raises(AssertionError, match="in no optimizer step"):
        handed_out(batches, scored, [[3], []])


def test_credit_gives_every_token_of_a_row_that_teaches_an_advantage_of_its_own(contender):
    rows = import_module("gpu_rows")
    output = {"advantages": torch.tensor([0.5, 0.0]), "completion_ids": torch.ones(2, 3, dtype=torch.long)}
    found = rows.token_advantages(output)
    assert found.shape == (2, 3)
    assert len(set(found[0].tolist())) == 3
    assert found[1].tolist() == [0, 0, 0]
    assert torch.equal(found, rows.token_advantages(output))  # in every process


def test_trls_contender_trains_as_train_does_with_checkpointing_and_autocast(contender, monkeypatch, tmp_path):
    right = gspo_lite.GSPOConfig
    monkeypatch.setattr(gspo_lite, "GSPOConfig", functools.partial(fields_of, right), raising=False)
    trainer, canned = contender.trainer_of("trl", write_random_model("tiny", tmp_path / "tiny"), contender.TINY, True)
    layers = [module for module in trainer.model.modules() if hasattr(module, "gradient_checkpointing")]
    runs, seen = [], contender.autocast_seen(trainer.model)
    layers[-1].register_forward_pre_hook(lambda *_: runs.append(torch.is_grad_enabled()))
    trainer._generate = canned.generate
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
    scored = SimpleNamespace(teaching=lambda: {0, 2})
    trainer = SimpleNamespace(model=torch.nn.Linear(2, 2), scored=scored, held=[[1, 2], [0, 3]])
    canned = SimpleNamespace(deal=dealt.append, tokens=100, generate=None)
    monkeypatch.setattr(contender, "trainer_of", lambda *_: (trainer, canned))
    monkeypatch.setattr(contender, "autocast_seen", lambda model: ["off", "off"])
    monkeypatch.setattr(contender, "optimise", lambda trainer: (1.0, [torch.ones(2)]))
    monkeypatch.setattr(sys, "stdin", [json.dumps({"flat": 0.5, "keep": str(tmp_path / "kept.pt"), "steps": None})])

    def work(checkpointing):
        trainer.model.is_gradient_checkpointing = checkpointing
        contender.work("trl", tmp_path, contender.TINY, True)
        return dealt

    return work


def test_a_contender_works_on_the_share_it_is_asked_for_and_says_how(worker, tmp_path, capsys):
    assert worker(checkpointing=True) == [0.5]
    told = json.loads(capsys.readouterr().out.removeprefix("RESULT "))
    assert (told["seconds"], told["tokens"], told["steps"]) == (1.0, 100, [[2], [0]])  # rows that teach
    assert (told["gradient_checkpointing"], told["autocast"]) == (True, ["off"])
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
    gpu.measure(
        "tiny", "gsm8k", FLATS, ["trl"], 2, True, False, lambda rows: seen.append([row["rounds"] for row in rows])
    )
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
    rows = by_name(gpu.measure("tiny", "gsm8k", [0.0], ["trl", "unsloth"], 1, True, False, lambda rows: None))
    assert rows["unsloth", 0.0]["gradient_error"] == float("inf")
    assert rows["unsloth", 0.0]["speed_up"] is None


@pytest.mark.parametrize(("error", "printed"), [(1e-5, True), (1e-3, False)])
def test_no_speed_up_is_printed_where_gradients_differ(gpu, tmp_path, error, printed):
    told = {"seconds": 1.0, "tokens": 500, "peak_gib": 2.0, "reserved_gib": 2.0, "hardware": "here",
            "gradient_checkpointing": True, "autocast": []}  # fmt: skip
    running = {name: gpu.Running(name, None, tmp_path, {0.0: [told] * 3}) for name in ("trl", "unsloth")}
    row = gpu.judged("tiny", "gsm8k", 0.0, running, "unsloth", {("unsloth", 0.0): (error, 0.9, "up_proj")}, True)
    assert row["gradient_error"] == error
    assert (row["speed_up"] is not None) == printed
    assert ("no speed-up is printed" in gpu.shown(row)) == (not printed)
    assert (" x trl  gradient " in gpu.shown(row)) == printed
    assert "lowest cosine 0.9000 of up_proj" in gpu.shown(row)
    assert row["tokens_per_second"] == 500


def test_other_rows_are_not_compared(gpu, tmp_path):
    def running(name, steps):
        return gpu.Running(name, None, tmp_path / name, {0.0: [{"parameters": 1, "steps": steps}] * 2})

    both = {"trl": running("trl", [[0, 1], [2, 3]]), "ours on trl": running("ours on trl", [[0, 2], [1, 3]])}
    assert gpu.gradient_errors(both, [0.0]) == {("ours on trl", 0.0): (float("inf"), 0.0, "")}


def test_gradients_differ_by_the_worst_step_and_by_the_module_that_turned_most(gpu, tmp_path):
    right = {"large": torch.ones(100), "small": torch.tensor([0.1, 0.0]), "idle": torch.zeros(2)}
    other = right | {"small": torch.tensor([0.08, 0.06])}  # 0.1 long as well
    torch.save([right, right], tmp_path / "a.pt")
    torch.save([right, other], tmp_path / "b.pt")
    error, cosine, module = gpu.gaps(tmp_path / "a.pt", tmp_path / "b.pt")
    assert error == pytest.approx(0.0063246, rel=1e-3)  # |(0.02, -0.06)| of a length of 10
    assert (cosine, module) == (pytest.approx(0.8), "small")


@pytest.mark.parametrize(
    ("name", "dry", "limit"),
    [("ours on trl", True, 1e-4), ("ours on unsloth", False, 0.1), ("ours on unsloth unpacked", False, 1e-2),
     ("ours on unsloth, credit", False, 0.1)],
)  # fmt: skip
def test_gradients_by_the_same_kernels_must_be_nearer(gpu, name, dry, limit):
    assert gpu.agree(name, dry) == limit


def test_a_whole_step_is_asked_for_twice_and_told_once(gpu, stand_ins, tmp_path, capsys):
    kept = tmp_path / "kept.json"
    gpu.main(["--contenders", "trl", "--flat", "0", "--rounds", "1", "--whole", "--dry-run", "--json", str(kept)])
    (row,) = json.loads(kept.read_text())
    assert (row["whole_seconds"], row["sampling_seconds"], row["sampled_tokens"]) == (5.0, 4.0, 100)
    assert "whole step 5.00 s, 4.00 of it sampling, 25 tokens/s" in capsys.readouterr().out


def test_packing_is_off_where_a_contender_says_so(gpu):
    off = {name for name, one in gpu.CONTENDERS.items() if one.environment == {"UNSLOTH_GRPO_SEQ_PACKING": "0"}}
    assert off == {name for name in gpu.CONTENDERS if "unpacked" in name}
    assert all(one.over is None or one.over in gpu.CONTENDERS for one in gpu.CONTENDERS.values())
