"""Looks through the golds of the data for those that no completion can match, before anything is trained on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gspo_lite.errors import DataError
from gspo_lite.rewards.contract.failures import shortened
from gspo_lite.rewards.contract.guarded import GuardedReward

COLUMN = "answer"
SHOWN = 5


def unusable_golds(rewards: Sequence[GuardedReward], rows: Iterable[Any]) -> list[tuple[int, Any, str]]:
    """Return the golds that the reward that judges can never match: number from 1, gold and why.

    Args:
        rows: the column `answer` of the problems.
    """
    why = why_of(rewards)
    reasons = ((number, gold, why(gold) if why else None) for number, gold in enumerate(rows, 1))
    return [(number, gold, reason) for number, gold, reason in reasons if reason]


def why_of(rewards: Sequence[GuardedReward]) -> Any:
    """Return the function of the reward that judges that says why a gold cannot be matched; None if it has none."""
    return next((getattr(made.function, "unusable", None) for made in rewards if made.judges), None)


def check_golds(rewards: Sequence[GuardedReward], problems: Any, which: str) -> list[str]:
    """Return a note on the golds of a data set that can never be matched; raise DataError if that is all of them.

    Args:
        which: the data in a message, such as "of `rows.jsonl`".
    """
    if COLUMN not in problems.column_names:
        return []
    found = unusable_golds(rewards, problems[COLUMN])
    if not found:
        return []
    shown = "; ".join(f"problem {number} `{shortened(str(gold))}`: {why}" for number, gold, why in found[:SHOWN])
    shown += "; ..." if len(found) > SHOWN else ""
    judge = next(made.__name__ for made in rewards if made.judges)
    if len(found) == len(problems):
        message = f"no gold {which} can be matched by `{judge}`: {shown}"
        raise DataError(message, "name the column of the final answers in data.columns.answer, or use another reward")
    lost = f"{len(found)} of {len(problems)} golds {which} can never be matched by `{judge}`"
    return [f"{lost}, and completions of these problems are left unjudged: {shown}"]
