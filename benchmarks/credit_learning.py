"""What credit per token is worth: `gspo_token` with span credit beside `gspo`, same rewards, rollouts and seeds.

    python benchmarks/credit_learning.py [--steps 160] [--seeds 42 1 2] [--json FILE] [--plot FILE]

Trains recipes/quickstart_token.yaml as it stands and once more as plain `gspo` without credit, and prints held-out
figures and the mean of each reward over the run.
"""

from __future__ import annotations

from typing import Any

from arms import compare, over_run

PLAIN = "[{name: math_correct, weight: 1.0}, {name: think_format, weight: 0.5}]"
CURVES = {"math_correct": "rewards/math_correct/mean", "think_format": "rewards/think_format/mean"}
ARMS = {"gspo_token": ([], CURVES), "gspo": (["objective.algorithm=gspo", f"rewards={PLAIN}"], CURVES)}


def told(one: dict[str, Any]) -> str:
    """Return the figures of one run on a line."""
    low, high = one["ci95"]
    areas = ", ".join(f"{name} {over_run(one, name):.3f}" for name in CURVES)
    return (
        f"greedy {one['accuracy']:.1%} ({low:.0%}-{high:.0%})  sampled {one['sampled_accuracy']:.1%}  "
        f"format {one['format_rate']:.1%}  over the run: {areas}"
    )


if __name__ == "__main__":
    compare(__doc__, "quickstart_token.yaml", ARMS, told, steps=160, seeds=[42, 1, 2], folder="runs/credit")
