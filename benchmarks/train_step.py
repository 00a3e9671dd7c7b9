"""The optimisation of one rollout: ours against the trainer that a path has without us, on the same rows and weights.

    python benchmarks/train_step.py [--path plain|unsloth|vllm] [--case NAME ...] [--old-pass] [--rounds 5] [--json F]
    python benchmarks/train_step.py --counts [...]     operations and gradients alone, which no other load can change

Measured is everything between a sampled rollout and its last gradient: old log-probs, forward and backward passes of
all micro-batches, as floating-point operations by torch's counter and as seconds. Sampling is left out by canned
completions; all else is each trainer's own path. Weights move by the same small step after every window, as an
optimizer would move them. `stock` is TRL's trainer, Unsloth's patched one, or TRL's under vLLM's CPU build (in the
environment of tests/vllm/setup.sh); `turns` is gspo_token with an advantage for each turn.

On the plain path our sampler has left its log-probs, as it does in float32, and they serve as old ones. A run lays a
micro-batch of every tenth rollout beside a pass of its own, which is not in these figures. `--old-pass` is for runs
that cannot use them: in 16 bits, or with a `rollout_func`.

A speed-up is printed only where every gradient is that of the same rows by the plain way (step_reference.py). Where
seconds are measured, contenders take turns, and memory is the peak of a process that runs one contender alone. Cases
are independent of each other; F holds the figures after each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from step_cases import AGREE, CASES, CONTENDERS, MOST_OVER_GSPO, TARGETS, Case, rollout
from step_model import PATHS, prepare_path

Row = dict[str, Any]


def measure(case: Case, path: str, rounds: int, folder: Path, old_pass: bool = False) -> list[Row]:
    """Return the figures of every contender on one case; without rounds neither seconds nor memory."""
    from step_contender import optimise, trainer_of
    from step_model import model_of
    from step_reference import gradient_error

    trainers = {name: trainer_of(name, case, folder, path, old_pass) for name in CONTENDERS}
    rows = {name: {"case": case.name, "path": path, "contender": name} for name in CONTENDERS}
    references: dict[str, list[Any]] = {}
    for name, trainer in trainers.items():
        optimise(trainer)  # what is checked once, at first use, is no part of a rollout
        passes = optimise(trainer, count=True)
        error = gradient_error(trainer, passes, model_of(case, folder), references)
        rows[name] |= counted(passes, case) | {"gradient_error": error}
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, trainer in trainers.items():
            seconds[name].append(optimise(trainer).seconds)
    for name, took in seconds.items():
        if took:
            rows[name] |= timed(took, seconds["stock"]) | {"gib": peak_gib(name, case, path, folder, old_pass)}
    return [compared(row, rows) for row in rows.values()]


def counted(passes: Any, case: Case) -> Row:
    """Return what does not depend on the machine."""
    lengths = [len(ids) for ids in rollout(case).completions]
    return {
        "gflop": passes.operations / 1e9, "old_gflop": passes.old / 1e9,
        "decode_steps": max(lengths), "generated_tokens": sum(lengths),
    }  # fmt: skip


def timed(took: Sequence[float], stock: Sequence[float]) -> Row:
    """Return the seconds of one contender, and how much faster it is, round by round."""
    ratios = [theirs / ours for theirs, ours in zip(stock, took, strict=True)]
    return {"seconds": statistics.median(took), "speed_up": statistics.median(ratios),
            "speed_up_low": min(ratios), "speed_up_high": max(ratios)}  # fmt: skip


def compared(row: Row, rows: dict[str, Row]) -> Row:
    """Return a contender's figures beside those of the others."""
    row = row | {"gflop_ratio": rows["stock"]["gflop"] / row["gflop"]}
    if row["contender"] in ("gspo_token", "turns"):
        row["gflop_over_gspo"] = row["gflop"] / rows["gspo"]["gflop"]
        if "seconds" in row:
            row["seconds_over_gspo"] = row["seconds"] / rows["gspo"]["seconds"]
    return row | {"targets": verdicts(row)}


def verdicts(row: Row) -> dict[str, bool]:
    """Return which of the wanted figures that were measured are met."""
    found = {f"gradient gap below {AGREE:g}": row["gradient_error"] < AGREE}
    for figure, ratio in (("gflop", "gflop_ratio"), ("seconds", "speed_up")):
        least = TARGETS.get((row["path"], figure), {}).get(row["case"])
        if row["contender"] == "gspo" and least is not None and ratio in row:
            found[f"{least:g} x by {figure}"] = row[ratio] >= least
        if f"{figure}_over_gspo" in row:
            found[f"{MOST_OVER_GSPO:g} x gspo by {figure}"] = row[f"{figure}_over_gspo"] <= MOST_OVER_GSPO
    return found


def peak_gib(contender: str, case: Case, path: str, folder: Path, old_pass: bool) -> float:
    """Return the peak memory of a process that runs one contender alone."""
    command = [sys.executable, __file__, "--alone", contender, "--case", case.name, "--path", path]
    command += ["--folder", str(folder), *(["--old-pass"] if old_pass else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def own_peak_gib() -> float:
    """Return the peak memory of this process; that of `getrusage` may be of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 2**20


def shown(row: Row) -> str:
    """Return one line of the table."""
    line = f"{row['case']:10} {row['contender']:10} {row['gflop']:8.1f} GFLOP ({row['old_gflop']:.1f} before training)"
    if "seconds" in row:
        line += f" {row['seconds']:7.2f} s {row['gib']:.2f} GiB"
    if not row["gradient_error"] < AGREE:
        return f"{line}  gradients differ by {row['gradient_error']:.1e}: no speed-up is printed"
    if row["contender"] != "stock":
        line += f"  {row['gflop_ratio']:.2f} x stock by operations"
        if "seconds" in row:
            line += f", {row['speed_up']:.2f} ({row['speed_up_low']:.2f} to {row['speed_up_high']:.2f}) by seconds"
    missed = [target for target, met in row["targets"].items() if not met]
    return f"{line}  gradient {row['gradient_error']:.0e}" + (f"  MISSED: {'; '.join(missed)}" if missed else "")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", choices=PATHS, default="plain")
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--counts", action="store_true", help="neither seconds nor memory")
    parser.add_argument("--old-pass", action="store_true", help="our sampler leaves no log-probs on the plain path")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(words)
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="train-step-"))
    prepare_path(chosen.path)
    if chosen.alone:
        from step_contender import optimise, trainer_of

        optimise(trainer_of(chosen.alone, CASES[chosen.case[0]], folder, chosen.path, chosen.old_pass))
        print(own_peak_gib())
        return
    results: list[Row] = []
    for name in chosen.case:
        rows = measure(CASES[name], chosen.path, 0 if chosen.counts else chosen.rounds, folder, chosen.old_pass)
        print("\n".join(map(shown, rows)), flush=True)
        results += rows
        if chosen.json:
            chosen.json.write_text(json.dumps({"cases": {c: asdict(CASES[c]) for c in chosen.case}, "rows": results}))


if __name__ == "__main__":
    main()
