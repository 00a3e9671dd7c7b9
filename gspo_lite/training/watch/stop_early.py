"""Whether training should end early, from the held-out figures that were logged so far. Pure functions; no torch.

A row is the record of a step at which the model was evaluated: `step`, `eval_accuracy` with the ends of its 95 percent
interval, and `eval_training_reward`, the mean reward of the rollouts since the evaluation before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gspo_lite.system.figures import number, share

ACCURACY, LOW, HIGH = "eval_accuracy", "eval_accuracy_low", "eval_accuracy_high"
TRAINING_REWARD = "eval_training_reward"
STOPPED_EARLY = "stopped early"  # kind of the event

Row = Mapping[str, Any]


def evaluated(log: Sequence[Row]) -> list[Row]:
    """Return the rows of a log that have held-out accuracy."""
    return [row for row in log if row.get(ACCURACY) is not None]


def best_of(rows: Sequence[Row]) -> Row:
    """Return the row with the highest accuracy; the earliest of several."""
    return max(rows, key=lambda row: float(row[ACCURACY]))


def reason_to_stop(rows: Sequence[Row], patience: int) -> str | None:
    """Return why training should end after the last of these evaluations; None if it should go on.

    Reward hacking is likely if the training reward is higher than it was at the best evaluation, although accuracy has
    fallen by more than chance: the two intervals have no point in common. Otherwise training ends after `patience`
    evaluations without a new best.
    """
    if not rows:
        return None
    best, last = best_of(rows), rows[-1]
    since = len(rows) - 1 - rows.index(best)
    fell = f"held-out accuracy {share(last[ACCURACY])}, after {share(best[ACCURACY])} at step {best['step']}"
    if last[HIGH] < best[LOW] and reward_rose(best, last):
        reward = f"{number(best[TRAINING_REWARD])} to {number(last[TRAINING_REWARD])}"
        return f"the training reward rose from {reward}, but {fell}: reward hacking is likely"
    return f"{since} evaluations without a new best: {fell}" if since >= patience else None


def reward_rose(best: Row, last: Row) -> bool:
    """Return whether the training reward before the last evaluation was higher than before the best one."""
    before, after = best.get(TRAINING_REWARD), last.get(TRAINING_REWARD)
    return before is not None and after is not None and after > before
