"""What credit per token is worth: `gspo_token` with span credit beside `gspo`, same rewards, rollouts and seeds.

    python benchmarks/credit_learning.py [--steps 160] [--seeds 42 1 2] [--json FILE] [--plot FILE]

Trains recipes/quickstart_token.yaml as it stands and once more as plain `gspo` without credit, one run after the
other, and prints held-out figures and the mean of each reward over the run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "recipes" / "quickstart_token.yaml"
PLAIN = "[{name: math_correct, weight: 1.0}, {name: think_format, weight: 0.5}]"
ARMS = {"gspo_token": [], "gspo": ["--set", "objective.algorithm=gspo", "--set", f"rewards={PLAIN}"]}
CURVES = {"math_correct": "rewards/math_correct/mean", "think_format": "rewards/think_format/mean"}
COLORS = {"gspo_token": "#0072b2", "gspo": "#d55e00"}  # told apart by the colour-blind too


def train(folder: Path, arm: str, seed: int, steps: int) -> None:
    """One run in a process of its own, unless its folder holds it already."""
    if (folder / "report.html").is_file():
        return
    command = [sys.executable, "-m", "gspo_lite", "run", str(RECIPE), "--output", str(folder), "--allow-outside"]
    command += ["--set", f"training.seed={seed}", "--set", "output.if_exists=overwrite", "--max-steps", str(steps)]
    subprocess.run([*command, *ARMS[arm]], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def figures(folder: Path) -> dict[str, Any]:
    """Held-out figures and reward curves of one run; a curve has one point (step, value) per rollout."""
    after = json.loads((folder / "eval.json").read_text())["after"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    curves = {
        name: [(line["step"], line[key]) for line in lines if line.get(key) is not None] for name, key in CURVES.items()
    }
    wanted = ("accuracy", "ci95", "sampled_accuracy", "sampled_ci95", "format_rate")
    return {**{name: after[name] for name in wanted}, "curves": curves}


def plot(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Both rewards over the optimizer steps: one thin line per seed, the mean thick."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, name in zip(axes, CURVES, strict=True):
        for arm, color in COLORS.items():
            runs = np.array([one["curves"][name] for key, one in results.items() if key.split()[0] == arm])
            steps, runs = runs[0, :, 0], runs[:, :, 1]
            axis.plot(steps, runs.T, color=color, alpha=0.25, linewidth=0.8)
            axis.plot(steps, runs.mean(0), color=color, linewidth=2, label=arm)
        axis.set(title=f"{name}, mean of a rollout", xlabel="optimizer step", ylim=(0, 1.02))
        axis.grid(alpha=0.3)
    axes[1].legend(loc="lower right")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs/credit"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args()
    results = {}
    for seed in chosen.seeds:
        for arm in ARMS:
            folder = chosen.folder.resolve() / f"{arm}-{seed}"
            train(folder, arm, seed, chosen.steps)
            one = results[f"{arm} {seed}"] = figures(folder)
            low, high = one["ci95"]
            area = {name: sum(value for _, value in curve) / len(curve) for name, curve in one["curves"].items()}
            print(
                f"{arm:11} seed {seed:<3} greedy {one['accuracy']:.1%} ({low:.0%}-{high:.0%})  sampled "
                f"{one['sampled_accuracy']:.1%}  format {one['format_rate']:.1%}  over the run: math_correct "
                f"{area['math_correct']:.3f}, think_format {area['think_format']:.3f}",
                flush=True,
            )
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2))
    if chosen.plot:
        plot(results, chosen.plot)


if __name__ == "__main__":
    main()
