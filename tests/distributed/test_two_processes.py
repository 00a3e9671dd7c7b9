"""Two processes on this machine's CPU (gloo) against one with the same global batch; -s prints the figures."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from trl.trainer import grpo_trainer

from gspo_lite.run import run
from gspo_lite.training.loss.groups import WholeGroups
from gspo_lite.training.trainer import GSPOTrainer
from tests.distributed.scripted import ALGORITHMS, LONG, RESUMED, Script, recipe_of

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "tests.distributed.scripted"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory, starter):
    """The folder two processes write to, while the last of their runs goes on."""
    folder = tmp_path_factory.mktemp("two")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    log = (folder / "log").open("w")
    launcher = subprocess.Popen(
        [sys.executable, *LAUNCH, str(folder)], cwd=ROOT, env=environment, stdout=log, stderr=log
    )
    try:
        until(lambda: (folder / LONG / "metrics.jsonl").is_file() or launcher.poll() is not None, 280)
        assert launcher.poll() is None, (folder / "log").read_text()[-3000:]
        yield folder, launcher
    finally:
        launcher.kill()
        for pid in workers(folder):
            os.kill(pid, signal.SIGKILL)


def until(done, seconds):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def workers(folder):
    """Process numbers of the launched runs, by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes().split(b"\0")
            variables = dict(one.split(b"=", 1) for one in (path / "environ").read_bytes().split(b"\0") if b"=" in one)
        except OSError:
            continue
        if str(folder).encode() in line and b"RANK" in variables and (path / "stat").read_text().split()[2] != "Z":
            found[int(variables[b"RANK"])] = int(path.name)
    return [pid for _, pid in sorted(found.items())]


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def gap(one, other, kind=""):
    """Distance of two sets of weights relative to their size, all together or those of one kind."""
    names = [name for name in sorted(one) if kind in name]
    first, second = (torch.cat([those[name].flatten().double() for name in names]) for those in (one, other))
    return float((first - second).norm() / first.norm())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_processes_train_as_one(pair, algorithm, tmp_path, monkeypatch):
    folder, _ = pair
    script = Script(1)
    monkeypatch.setattr(GSPOTrainer, "_generate_single_turn", lambda trainer, *args: script.turn(trainer, *args))
    monkeypatch.setattr(grpo_trainer, "shuffle_sequence_dict", script.shuffle)
    monkeypatch.setattr(WholeGroups, "_deals_groups", False)  # as with two, whose groups end up in several steps
    run(recipe_of(tmp_path / "one", algorithm, 1))
    one, two = losses(tmp_path / "one"), losses(folder / algorithm)
    loss_gaps = [abs(a - b) for a, b in zip(one, two, strict=True)]
    pairs = weights(tmp_path / "one"), weights(folder / algorithm)
    print(f"\n{algorithm}: {len(one)} steps, loss {min(one):.3f} to {max(one):.3f}")
    print(f"  largest gap of the loss {max(loss_gaps):.1e}, of the weights {gap(*pairs):.1e} relative")
    print(f"  of the matrices that begin at 0, where Adam makes rounding largest, {gap(*pairs, 'lora_B'):.1e}")
    assert max(map(abs, one)) > 0.01
    assert max(loss_gaps) < 1e-6
    assert gap(*pairs) < 1e-5
    assert gap(*pairs, "lora_B") < 1e-4


def test_a_run_of_two_is_resumed_inside_a_rollout(pair):
    folder, _ = pair
    whole, resumed = folder / ALGORITHMS[-1], folder / RESUMED
    assert losses(resumed) == losses(whole)
    assert gap(weights(whole), weights(resumed)) == 0


def test_one_process_writes_and_says(pair):
    folder, _ = pair
    text = (folder / "log").read_text()
    assert text.count("2 processes (DDP): 64 completions a rollout in total") == len(ALGORITHMS) + 2
    assert text.count("computing only rows that have an advantage") == len(ALGORITHMS) + 2
    rows = [json.loads(line) for line in (folder / "gspo" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 9))


def test_a_killed_process_ends_the_other(pair):
    folder, launcher = pair
    main, second = workers(folder)
    assert (folder / LONG / ".lock").read_text() == str(main)
    os.kill(second, signal.SIGKILL)
    until(lambda: not workers(folder), 60)
    assert launcher.wait(30) != 0
