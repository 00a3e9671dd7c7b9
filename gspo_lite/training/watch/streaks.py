"""Counts for how long each sign of collapse has been shown without a break. Must not know what is done about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from gspo_lite.training.watch.collapse import SIGNS, Sign


class Streaks:
    """The streak of each sign: in steps where the sign has a patience of its own, else in rollouts.

    Attributes:
        patience: rollouts in a row that make a sign count.
        lengths: of the streaks that go on, by sign.
        broken: signs that some rollout of this training did not show.
    """

    def __init__(self, patience: int):
        self.patience = patience
        self.lengths: Counter[str] = Counter()
        self.broken: set[str] = set()

    def take(self, found: Sequence[bool | None], rollouts: int) -> list[Sign]:
        """Add what each of `SIGNS` found in the figures of so many rollouts; return those whose patience has ended."""
        due = []
        for sign, seen in zip(SIGNS, found, strict=True):
            if seen is None:
                continue
            self.lengths[sign.name] = self.lengths[sign.name] + (1 if sign.patience else rollouts) if seen else 0
            if not seen:
                self.broken.add(sign.name)
            if self.lengths[sign.name] >= (sign.patience or self.patience):
                due.append(sign)
        return due

    def unbroken(self) -> list[Sign]:
        """Return the signs that every rollout so far has shown, where these are fewer than their patience."""
        lasting = [one for one in SIGNS if one.patience is None and one.name not in self.broken]
        return [one for one in lasting if 0 < self.lengths[one.name] < self.patience]

    def explained(self) -> set[str]:
        """Return the names of signs that follow from another one that is shown."""
        return {name for sign in SIGNS if self.lengths[sign.name] for name in sign.explains}

    def state(self) -> dict[str, Any]:
        """Return the counts from which a resumed training continues."""
        return {"lengths": dict(self.lengths), "broken": sorted(self.broken)}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.lengths, self.broken = Counter(state["lengths"]), set(state["broken"])
