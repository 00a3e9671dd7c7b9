"""The kinds of answers that are not formulas, each read by its own file and compared part by part, never calculated.

Owns which kinds there are, their order, and when a text can only be of its kind.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from gspo_lite.rewards.grading import chemistry, dates, quantities, sequences


def always(value: Any) -> bool:
    return True


def never(value: Any) -> bool:
    return False


class Kind(NamedTuple):
    """How a kind is read and compared.

    Attributes:
        read: from a spelled text to its value; None if the text is not of this kind.
        same: whether two values are the same; None if this kind does not say.
        binds_gold, binds_answer: whether a gold or an answer with this value equals nothing of another kind.
    """

    read: Callable[[str], Any]
    same: Callable[[Any, Any], bool | None] = operator.eq
    binds_gold: Callable[[Any], bool] = never
    binds_answer: Callable[[Any], bool] = never


KINDS = (
    Kind(dates.date_of, dates.same_date, always, always),
    Kind(dates.clock_of, dates.same_clock, always, lambda clock: clock.certain),
    Kind(sequences.remainder_of, operator.eq, always, always),
    Kind(sequences.items_of, operator.eq, always, always),
    Kind(quantities.quantity_of, quantities.same_amount, quantities.is_sum, quantities.is_sum),
    Kind(sequences.range_of, sequences.same_range, always, sequences.rises),
    Kind(sequences.ratio_of, sequences.same_ratio, sequences.is_long, sequences.is_long),
    Kind(chemistry.compound_of, operator.eq, chemistry.is_spelled),
    Kind(sequences.capitals_of, sequences.same_capitals, sequences.is_string),
)


def same_kind(answer: str, gold: str) -> bool | None:
    """Return whether two texts of one kind are the same; None if there is no kind that both are of."""
    for kind in KINDS:
        wanted = kind.read(gold)
        given = kind.read(answer) if wanted is not None else None
        verdict = kind.same(given, wanted) if given is not None else None
        if verdict is not None:
            return verdict
    return None


def of_another_kind(answer: str, gold: str) -> bool:
    """Return whether one of two texts that have no kind in common can only be of its own."""
    return is_bound(gold) or any(bound(kind.read(answer), kind.binds_answer) for kind in KINDS)


def is_bound(gold: str) -> bool:
    """Return whether a gold equals nothing of another kind."""
    return any(bound(kind.read(gold), kind.binds_gold) for kind in KINDS)


def bound(value: Any, binds: Callable[[Any], bool]) -> bool:
    return value is not None and binds(value)
