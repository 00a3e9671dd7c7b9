"""One training step on a GPU: stock TRL, plain Unsloth, and ours on each, on the same rollout and weights.

    python benchmarks/gpu.py [--shapes Qwen3-0.6B ...] [--cases gsm8k long] [--flat 0 0.5] [--rounds 5] [--json FILE]
    python benchmarks/gpu.py --whole          one step with its sampling as well, 64 x 256 tokens, once for each
    python benchmarks/gpu.py --dry-run        the same way with a tiny model on a CPU; what it times means nothing

Models are random weights in NF4 in a real shape, made on the machine. Measured is a training step per rollout: old
log-probs, forward and backward passes of all its micro-batches; sampling is left out by canned completions. Every
contender (gpu_contender.py) is a process of its own, and they take turns. One that fails is left out from there on;
FILE holds all figures after every turn. `--flat` is the share of groups without variance of rewards: ours leaves their
rows out, so a speed-up at 0.5 says little without the one at 0. A speed-up is printed only where the gradients of the
same rows agree, which the last warm-up round compares; the lowest cosine of a module stands beside, since a difference
of a whole gradient hides a small module. By name there are contenders without Unsloth's packing, whose gradients round
less, and with an advantage for every token.
The clip is 0.2, not GSPO's: at 3e-4 rounding in bfloat16 alone decides which rows count, and no two implementations
could be compared; the work is the same. Runs from a clone, nothing of ours installed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_cases import CASES, CONTENDERS, USUAL, agree
from gpu_figures import gaps, shown

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 2  # rounds: the second meets the first-use checks that Unsloth makes when rows change
QUIET = {"HF_HUB_OFFLINE": "1", "UNSLOTH_DISABLE_STATISTICS": "1", "TOKENIZERS_PARALLELISM": "false"}
Row = dict[str, Any]


def environment(dry: bool) -> dict[str, str]:
    """Return the environment of a process: it finds the modules of the clone, no network, and no GPU in a dry run."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, **QUIET, "PYTHONPATH": path, **({"CUDA_VISIBLE_DEVICES": ""} if dry else {})}


def write_model(shape: str, dry: bool) -> Path:
    """Write the random model in a process of its own, whose memory on the card ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="gspo-gpu-")) / shape
    command = [sys.executable, "-m", "tests.gpu.random_models", shape, str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment(dry))
    return folder


def command_of(name: str, folder: Path, case: str, dry: bool) -> list[str]:
    script = Path(__file__).with_name("gpu_contender.py")
    return [sys.executable, str(script), name, str(folder), "--case", case, *(["--dry-run"] * dry)]


@dataclass
class Running:
    """The process of one contender and what it told.

    Attributes:
        log: what its libraries print.
        told: the results of its rounds, by the share of flat groups, warm-up included.
        whole: the result of a whole step, if there was one.
        failed: the last line of its log, once it has failed.
    """

    name: str
    process: Any
    log: Path
    told: dict[float, list[Row]] = field(default_factory=dict)
    whole: Row = field(default_factory=dict)
    failed: str | None = None

    @classmethod
    def start(cls, name: str, folder: Path, case: str, dry: bool) -> Running:
        log = folder / f"{name} {case}.log"
        own = {"UNSLOTH_COMPILE_LOCATION": tempfile.mkdtemp(prefix="unsloth-"), **CONTENDERS[name].environment}
        process = subprocess.Popen(
            command_of(name, folder, case, dry), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("w"),
            text=True, env={**environment(dry), **own},
        )  # fmt: skip
        return cls(name, process, log)

    def take_turn(self, flat: float, steps: Any = None) -> None:
        """Take one round; in the last that warms up, keep gradients, of these rows in each optimizer step."""
        rounds = self.told.setdefault(flat, [])
        last = len(rounds) == WARM_UP - 1
        keep = str(self.gradients(flat)) if last else None
        rounds += self.asked({"flat": flat, "keep": keep, "steps": steps if last else None})

    def take_whole_step(self) -> None:
        """Take two whole steps, of which the first warms up."""
        for _ in range(2):
            for told in self.asked({"flat": 0.0, "whole": True}):
                self.whole = told

    def asked(self, request: Row) -> list[Row]:
        """Return the answer; nothing if there is none, and why is noted."""
        if self.failed:
            return []
        with suppress(BrokenPipeError):  # where it is gone, its log says why
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("RESULT "):
                return [json.loads(line.removeprefix("RESULT "))]
        lines = self.log.read_text().strip().splitlines() or [f"ended with {self.process.wait()}"]
        self.failed = lines[-1]
        print(f"{self.name} failed and is left out from here on:", *lines[-12:], sep="\n", file=sys.stderr, flush=True)
        return []

    def gradients(self, flat: float) -> Path:
        """Return the file of its gradients, which its warm-up rounds write."""
        return self.log.with_suffix(f".{flat}.pt")

    def measured(self, flat: float) -> list[Row]:
        return self.told.get(flat, [])[WARM_UP:]

    def end(self) -> None:
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


def measure(
    shape: str, case: str, flats: Sequence[float], names: Sequence[str], rounds: int, dry: bool, whole: bool,
    keep: Callable[[list[Row]], None],
) -> list[Row]:  # fmt: skip
    """Let all contenders take turns on one model; `keep` is given all rows after every turn."""
    folder = write_model(shape, dry)
    running = {name: Running.start(name, folder, case, dry) for name in names}
    errors: dict[tuple[str, float], tuple[float, float, str]] = {}
    rows: list[Row] = []
    for turn in range(WARM_UP + rounds):
        for flat in flats:
            for one in running.values():
                one.take_turn(flat, None if CONTENDERS[one.name].ours else rows_of_ours(running, flat))
        if turn == WARM_UP - 1:
            errors = gradient_errors(running, flats)
        rows = [judged(shape, case, flat, running, name, errors, dry) for flat in flats for name in names]
        keep(rows)
    for one in running.values() if whole else ():
        one.take_whole_step()
        rows = [judged(shape, case, flat, running, name, errors, dry) for flat in flats for name in names]
        keep(rows)
    for one in running.values():
        one.end()
    return rows


def rows_of_ours(running: dict[str, Running], flat: float) -> Any:
    """Return the rows in each optimizer step of a contender of ours, from its first round; None if there is none."""
    ours = [one.told[flat] for one in running.values() if CONTENDERS[one.name].ours and one.told.get(flat)]
    return ours[0][0]["steps"] if ours else None


def gradient_errors(
    running: dict[str, Running], flats: Sequence[float]
) -> dict[tuple[str, float], tuple[float, float, str]]:
    """Compare contenders that train the same parameters on the same rows; infinite where they do not."""
    errors = {}
    for name, one in running.items():
        other = running.get(CONTENDERS[name].over or "")
        if other is None or one.failed or other.failed:
            continue
        for flat in flats:
            ours, theirs = one.told[flat][-1], other.told[flat][-1]
            same = all(ours[key] == theirs[key] for key in ("parameters", "steps"))
            errors[name, flat] = gaps(one.gradients(flat), other.gradients(flat)) if same else (math.inf, 0.0, "")
    return errors


def judged(
    shape: str, case: str, flat: float, running: dict[str, Running], name: str,
    errors: dict[tuple[str, float], tuple[float, float, str]], dry: bool,
) -> Row:  # fmt: skip
    """Return one contender's figures; a speed-up only where its gradients are those of the one it is compared with."""
    one, other = running[name], CONTENDERS[name].over
    told, rounds = one.told.get(flat, []), one.measured(flat)
    row: Row = {
        "shape": shape,
        "case": case,
        "flat": flat,
        "contender": name,
        "failed": one.failed,
        "rounds": len(rounds),
    }
    row |= one.whole
    if not rounds:
        return row
    seconds = [each["seconds"] for each in rounds]
    middle = statistics.median(seconds)
    row |= {
        "hardware": rounds[0]["hardware"], "gradient_checkpointing": rounds[0]["gradient_checkpointing"],
        "autocast": rounds[0]["autocast"], "compile_s": told[0]["seconds"], "seconds": middle,
        "seconds_low": min(seconds), "seconds_high": max(seconds), "tokens_per_second": rounds[0]["tokens"] / middle,
        "peak_gib": max(each["peak_gib"] for each in rounds),
        "reserved_gib": max(each["reserved_gib"] for each in rounds),
        "over": None, "gradient_error": None, "lowest_cosine": None, "of_module": None, "speed_up": None,
    }  # fmt: skip
    theirs = running[other].measured(flat) if other in running else []
    if not theirs or (name, flat) not in errors:
        return row
    error, cosine, module = errors[name, flat]
    ratios = [b["seconds"] / a["seconds"] for a, b in zip(rounds, theirs, strict=False)]
    return row | {
        "over": other, "gradient_error": error, "lowest_cosine": cosine, "of_module": module,
        "speed_up": statistics.median(ratios) if error < agree(name, dry) else None,
    }  # fmt: skip


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["Qwen3-0.6B", "Qwen3-1.7B"], help="as gspo-lite plan has them")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=USUAL)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["gsm8k"])
    parser.add_argument("--whole", action="store_true", help="time one whole step, sampling and all, as well")
    parser.add_argument("--flat", nargs="+", type=float, default=[0.0, 0.5], help="shares of groups without variance")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    chosen = parser.parse_args(words)
    if chosen.dry_run:
        print("a dry run on a CPU: gradients are compared, what is timed means nothing")
    done: list[Row] = []

    def keep(rows: list[Row]) -> None:
        if chosen.json:
            whole = chosen.json.with_suffix(".new")
            whole.write_text(json.dumps(done + rows, indent=2))
            whole.replace(chosen.json)  # a time limit may come at any moment

    shapes = ["tiny"] if chosen.dry_run else chosen.shapes
    for shape, case in itertools.product(shapes, chosen.cases):
        rows = measure(shape, case, chosen.flat, chosen.contenders, chosen.rounds, chosen.dry_run, chosen.whole, keep)
        print("\n".join(map(shown, rows)), flush=True)
        done += rows
    failed = sorted({f"{row['contender']} on {row['shape']}" for row in done if row["failed"]})
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
