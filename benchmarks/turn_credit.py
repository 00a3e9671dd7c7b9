"""What credit by turn is worth: `gspo_token` that pays each guess of a game beside `gspo` with the game's outcome.

    python benchmarks/turn_credit.py [--steps 100] [--seeds 42 43 44 45 46] [--json FILE] [--plot FILE]

Trains recipes/quickstart_turns.yaml as it stands, and as `gspo` with the outcome alone: equal rollouts, one run after
the other. A run that is there already is not repeated. Prints held-out success before and after, and the mean over the
run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from arms import ROOT, Results, figures, plot, train

RECIPE = ROOT / "recipes" / "quickstart_turns.yaml"
OUTCOME = ["objective.algorithm=gspo", "environment=gspo_lite.data.letters:GuessLetter"]
ARMS = {"gspo_token, turns": ("CoachedGuessLetter", []), "gspo, outcome": ("GuessLetter", OUTCOME)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44, 45, 46])
    parser.add_argument("--folder", type=Path, default=Path("runs/turn_credit"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args()
    results: Results = {}
    for seed in chosen.seeds:
        for arm, (environment, overrides) in ARMS.items():
            folder = chosen.folder.resolve() / f"{arm.replace(', ', '-')}-{seed}"
            train(RECIPE, folder, overrides, seed, chosen.steps)
            one = results[f"{arm} {seed}"] = figures(folder, {"won": f"rewards/{environment}/mean"})
            (low, high), won = one["ci95"], [value for _, value in one["curves"]["won"]]
            print(
                f"{arm:17} seed {seed:<3} greedy {one['before']['accuracy']:.1%} to {one['accuracy']:.1%} ({low:.0%}-"
                f"{high:.0%})  sampled {one['before']['sampled_accuracy']:.1%} to {one['sampled_accuracy']:.1%}  won "
                f"over the run {sum(won) / len(won):.3f}",
                flush=True,
            )
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2))
    if chosen.plot:
        plot(results, chosen.plot)


if __name__ == "__main__":
    main()
