"""What `generation.sample_factor` is worth: quickstart with and without it, at equal rollouts, sampled tokens and time.

    python benchmarks/oversampling.py [--steps 160] [--seeds 42 1] [--factors 1 2 3] [--json FILE]

Every run is a process of its own, arms of one seed one after the other. Rewards are those of all that was sampled. For
each budget the arm that spends least sets it; `reward` is the mean of the last WINDOW rollouts within it. Time depends
on what else the machine does, tokens do not; on a CPU, sampling twice as much takes about twice the time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WINDOW = 5  # rollouts
BUDGETS = {"rollouts": "step", "tokens": "num_tokens", "seconds": "seconds"}
COST = "gspo/oversample/"


def train(folder: Path, factor: int, seed: int, steps: int) -> None:
    """One run, unless its folder holds it already."""
    if (folder / "report.html").is_file():
        return
    sets = [f"generation.sample_factor={factor}", f"training.seed={seed}", "output.if_exists=overwrite"]
    command = [sys.executable, "-m", "gspo_lite", "run", "quickstart", "--output", str(folder), "--allow-outside"]
    command += [part for one in sets for part in ("--set", one)]
    subprocess.run([*command, "--max-steps", str(steps)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def rollouts_of(folder: Path) -> list[dict[str, Any]]:
    """One row per rollout: step, reward, tokens and seconds by then, groups without variance, groups dropped."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    began = lines[0]["time"]  # the end of step 1; all arms lack what comes before
    return [
        {
            "step": line["step"],
            "reward": line["reward"],
            "num_tokens": line["num_tokens"],
            "seconds": line["time"] - began,
            "flat": line["frac_reward_zero_std"],
            "still_flat": line.get(COST + "flat_share", line["frac_reward_zero_std"]),
            "dropped": line.get(COST + "dropped_share", 0.0),
        }
        for line in lines
        if line.get("reward") is not None
    ]


def within(rollouts: list[dict[str, Any]], unit: str, budget: float) -> dict[str, float]:
    """Reward at the end of a budget and over all of it."""
    rewards = [one["reward"] for one in rollouts if one[unit] <= budget]
    return {"end": mean(rewards[-WINDOW:]), "over the run": mean(rewards), "rollouts": len(rewards)}


def compared(runs: dict[int, Path]) -> dict[int, dict[str, Any]]:
    """For the arms of one seed, by factor: rewards under each budget, cost and held-out figures."""
    curves = {factor: rollouts_of(folder) for factor, folder in runs.items()}
    found: dict[int, dict[str, Any]] = {}
    for factor, curve in curves.items():
        after = json.loads((runs[factor] / "eval.json").read_text())["after"]
        found[factor] = {
            "accuracy": after["accuracy"],
            "sampled_accuracy": after["sampled_accuracy"],
            "tokens": curve[-1]["num_tokens"],
            "seconds": curve[-1]["seconds"],
            "flat": mean(one["flat"] for one in curve),
            "still_flat": mean(one["still_flat"] for one in curve),
            "dropped": mean(one["dropped"] for one in curve),
        }
        for name, unit in BUDGETS.items():
            found[factor][f"equal {name}"] = within(curve, unit, min(other[-1][unit] for other in curves.values()))
    return found


def show(seed: int, found: dict[int, dict[str, Any]]) -> None:
    print(f"seed {seed}")
    print(f"  {'factor':6} {'flat':>5} {'left':>5} {'dropped':>7} {'tokens':>8} {'seconds':>8}", end="")
    print("".join(f" {'equal ' + name:>24}" for name in BUDGETS) + f" {'greedy':>8} {'sampled':>8}")
    for factor, one in found.items():
        print(f"  {factor:<6} {one['flat']:5.0%} {one['still_flat']:5.0%} {one['dropped']:7.0%}", end="")
        print(f" {one['tokens']:8.0f} {one['seconds']:8.1f}", end="")
        for name in BUDGETS:
            part = one[f"equal {name}"]
            text = f"{part['end']:.3f} ({part['over the run']:.3f}, {part['rollouts']:.0f})"
            print(f" {text:>24}", end="")
        print(f" {one['accuracy']:8.1%} {one['sampled_accuracy']:8.1%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1])
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--folder", type=Path, default=Path("runs/oversampling"))
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    results = {}
    print("flat: share of sampled groups without variance; left: of those trained on; dropped: of those with variance;")
    print("equal ...: reward of the last", WINDOW, "rollouts in the budget (over all of it, rollouts in it)")
    for seed in chosen.seeds:
        runs = {factor: chosen.folder.resolve() / f"{factor}-{seed}" for factor in chosen.factors}
        for factor, folder in runs.items():
            train(folder, factor, seed, chosen.steps)
        results[seed] = compared(runs)
        show(seed, results[seed])
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
