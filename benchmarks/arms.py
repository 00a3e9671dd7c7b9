"""Several ways of training one recipe, told apart by overrides, with the same seeds: runs, their figures and curves."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COLORS = ("#0072b2", "#d55e00", "#009e73")  # told apart by the colour-blind too
FIGURES = ("accuracy", "ci95", "sampled_accuracy", "sampled_ci95", "format_rate")
Results = dict[str, dict[str, Any]]  # by arm and seed
Arm = tuple[list[str], dict[str, str]]  # overrides of the recipe, and the metrics that are curves, by their names


def compare(
    about: str, recipe: str, arms: Mapping[str, Arm], told: Callable[[dict[str, Any]], str], *, steps: int,
    seeds: Sequence[int], folder: str,
) -> None:  # fmt: skip
    """Train every arm with every seed, one after the other, and print a line on each, of which `told` is the end."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--seeds", type=int, nargs="+", default=seeds)
    parser.add_argument("--folder", type=Path, default=Path(folder), help="a run that is there is not repeated")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args()
    results: Results = {}
    for seed in chosen.seeds:
        for arm, (overrides, curves) in arms.items():
            run = chosen.folder.resolve() / f"{arm.replace(', ', '-')}-{seed}"
            train(ROOT / "recipes" / recipe, run, overrides, seed, chosen.steps)
            one = results[f"{arm} {seed}"] = figures(run, curves)
            print(f"{arm:17} seed {seed:<3} {told(one)}", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2))
    if chosen.plot:
        plot(results, chosen.plot)


def over_run(one: Mapping[str, Any], curve: str) -> float:
    """Return the mean of a curve over a whole run."""
    values = [value for _, value in one["curves"][curve]]
    return sum(values) / len(values)


def train(recipe: Path, folder: Path, overrides: Sequence[str], seed: int, steps: int) -> None:
    """Run a recipe in a process of its own, unless its folder holds the whole run already."""
    measured = folder / "eval.json"
    if measured.is_file() and "after" in json.loads(measured.read_text()):
        return
    settings = [*overrides, f"training.seed={seed}", "output.if_exists=overwrite"]
    command = [sys.executable, "-m", "gspo_lite", "run", str(recipe), "--output", str(folder), "--allow-outside"]
    command += [part for one in settings for part in ("--set", one)]
    subprocess.run([*command, "--max-steps", str(steps)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def figures(folder: Path, metrics: Mapping[str, str]) -> dict[str, Any]:
    """Return held-out figures and curves of one run; a curve has one point (step, value) per rollout."""
    measured = json.loads((folder / "eval.json").read_text())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    curves = {
        name: [(line["step"], line[key]) for line in lines if line.get(key) is not None]
        for name, key in metrics.items()
    }
    before, after = ({name: measured[when].get(name) for name in FIGURES} for when in ("before", "after"))
    return {**after, "before": before, "curves": curves}


def plot(results: Results, path: Path) -> None:
    """Draw each curve over the optimizer steps, side by side: one thin line per seed, the mean thick."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    names = list(next(iter(results.values()))["curves"])
    arms = dict.fromkeys(key.rpartition(" ")[0] for key in results)
    figure, axes = plt.subplots(1, len(names), figsize=(4.5 * len(names), 3.4), layout="constrained", squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for arm, color in zip(arms, COLORS, strict=False):
            runs = np.array([one["curves"][name] for key, one in results.items() if key.rpartition(" ")[0] == arm])
            steps, runs = runs[0, :, 0], runs[:, :, 1]
            axis.plot(steps, runs.T, color=color, alpha=0.25, linewidth=0.8)
            axis.plot(steps, runs.mean(0), color=color, linewidth=2, label=arm)
        axis.set(title=f"{name}, mean of a rollout", xlabel="optimizer step", ylim=(0, 1.02))
        axis.grid(alpha=0.3)
    axes[0][-1].legend(loc="lower right")
    figure.savefig(path, dpi=110)
