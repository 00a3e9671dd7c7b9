"""What credit by turn is worth: `gspo_token` that pays each guess of a game beside `gspo` with the game's outcome.

    python benchmarks/turn_credit.py [--steps 100] [--seeds 42 43 44 45 46] [--json FILE] [--plot FILE]

Trains recipes/quickstart_turns.yaml as it stands, and as `gspo` with the outcome alone, with equal rollouts. Prints
held-out success before and after, and the share of games won over the run.
"""

from __future__ import annotations

from typing import Any

from arms import compare, over_run

OUTCOME = ["objective.algorithm=gspo", "environment=gspo_lite.data.letters:GuessLetter"]
ARMS = {
    "gspo_token, turns": ([], {"won": "rewards/CoachedGuessLetter/mean"}),
    "gspo, outcome": (OUTCOME, {"won": "rewards/GuessLetter/mean"}),
}


def told(one: dict[str, Any]) -> str:
    """Return the figures of one run on a line."""
    before, (low, high), won = one["before"], one["ci95"], over_run(one, "won")
    return (
        f"greedy {before['accuracy']:.1%} to {one['accuracy']:.1%} ({low:.0%}-{high:.0%})  sampled "
        f"{before['sampled_accuracy']:.1%} to {one['sampled_accuracy']:.1%}  won over the run {won:.3f}"
    )


if __name__ == "__main__":
    seeds = [42, 43, 44, 45, 46]
    compare(__doc__, "quickstart_turns.yaml", ARMS, told, steps=100, seeds=seeds, folder="runs/turn_credit")
