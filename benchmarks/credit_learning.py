"""What credit per token is worth: `gspo_token` with span credit beside `gspo`, same rewards, rollouts and seeds.

    python benchmarks/credit_learning.py [--steps 160] [--seeds 42 1 2] [--json FILE] [--plot FILE]

Trains recipes/quickstart_token.yaml as it stands and once more as plain `gspo` without credit, one run after the
other, and prints held-out figures and the mean of each reward over the run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from arms import ROOT, Results, figures, plot, train

RECIPE = ROOT / "recipes" / "quickstart_token.yaml"
PLAIN = "[{name: math_correct, weight: 1.0}, {name: think_format, weight: 0.5}]"
ARMS = {"gspo_token": [], "gspo": ["objective.algorithm=gspo", f"rewards={PLAIN}"]}
CURVES = {"math_correct": "rewards/math_correct/mean", "think_format": "rewards/think_format/mean"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs/credit"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args()
    results: Results = {}
    for seed in chosen.seeds:
        for arm in ARMS:
            folder = chosen.folder.resolve() / f"{arm}-{seed}"
            train(RECIPE, folder, ARMS[arm], seed, chosen.steps)
            one = results[f"{arm} {seed}"] = figures(folder, CURVES)
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
