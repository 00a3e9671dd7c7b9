"""Values that a reward may return instead of a number: with the characters it applies to, or one for each step or turn.

Public as `gspo_lite.credit.Score`, `Steps` and `Turns`; defined here so that rewards need not import numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Span = tuple[int, int, float]  # start and end character in the completion's text, weight in [0, 1]


@dataclass(frozen=True)
class Score:
    """A reward's value and the characters it applies to: (start, end, weight), or None for the whole completion."""

    value: float | None
    spans: Sequence[Span] | None = None

    def __post_init__(self) -> None:
        for span in self.spans or ():
            start, end, weight = span
            if not (0 <= start <= end and 0 <= weight <= 1):
                raise ValueError(f"span `{span}` of a Score; expected 0 <= start <= end and a weight from 0 to 1")


@dataclass(frozen=True)
class Steps:
    """A process reward: (end character, value) of each step, in order; the last one extends to the completion's end."""

    steps: Sequence[tuple[int, float]]

    def __post_init__(self) -> None:
        ends = [end for end, _ in self.steps]
        if ends != sorted(ends) or not all(math.isfinite(value) for _, value in self.steps):
            raise ValueError(f"steps `{list(self.steps)}`; expected rising end characters and finite values")

    @property
    def value(self) -> float | None:
        """The completion's reward, the mean over its steps; None (cannot judge) without steps."""
        return sum(value for _, value in self.steps) / len(self.steps) if self.steps else None


@dataclass(frozen=True)
class Turns:
    """A value for each of the model's own turns, in order; None where the reward says nothing about a turn."""

    values: Sequence[float | None]

    def __post_init__(self) -> None:
        if not all(value is None or math.isfinite(value) for value in self.values):
            raise ValueError(f"turns `{list(self.values)}`; expected a finite value or None for each turn")

    @property
    def value(self) -> float | None:
        """The completion's reward as logged, the mean over its turns that have a value; None without any."""
        known = [value for value in self.values if value is not None]
        return sum(known) / len(known) if known else None


Mark = Score | Steps | Turns
