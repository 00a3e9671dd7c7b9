"""A recipe in the making: values by their place, where each came from, and what is to be said about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gspo_lite.recipe.foreign.settings import Setting


@dataclass
class Draft:
    """What a recipe has so far. A place is written as `--set` takes it; that of a reward is `rewards.NAME`.

    Attributes:
        home: folder of the other trainer's file.
        given: values of the other trainer by key; the first of several counts.
        values: what was carried over, by place; rewards are apart.
        rewards: items of `rewards`.
        origins: the setting that a place was carried over from.
        left: what does not carry over, with the reason.
        remarks: how a carried value differs from the other trainer's.
        chosen: what gspo-lite chose, with the reason.
        decide: what the user must look at; a comment in the recipe.
    """

    home: Path
    given: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    rewards: list[dict[str, Any]] = field(default_factory=list)
    origins: dict[str, Setting] = field(default_factory=dict)
    left: list[tuple[Setting, str]] = field(default_factory=list)
    remarks: dict[str, str] = field(default_factory=dict)
    chosen: dict[str, tuple[Any, str]] = field(default_factory=dict)
    decide: dict[str, str] = field(default_factory=dict)

    def get(self, place: str, default: Any = None) -> Any:
        """Return the value at a place, carried or chosen, or a default."""
        return self.values[place] if place in self.values else self.chosen.get(place, (default,))[0]

    def number(self, *keys: str) -> Any:
        """Return the first positive number that the other trainer's file has under these keys, or None."""
        numbers = (self.given[key] for key in keys if type(self.given.get(key)) in (int, float))
        return next((one for one in numbers if math.isfinite(one) and one > 0), None)

    def carry(self, place: str, value: Any, setting: Setting) -> None:
        """Carry a value over; of several keys for one place the first counts."""
        if place not in self.values:
            self.values[place], self.origins[place] = value, setting
        elif self.values[place] != value:
            first = self.origins[place]
            self.left.append((setting, f"`{place}` is taken by `{first.key}` ({first.where})"))

    def choose(self, place: str, value: Any, reason: str) -> None:
        """Choose what was not carried over."""
        if place not in self.values:
            self.chosen[place] = value, reason

    def ask(self, place: str, value: Any, question: str) -> None:
        """Leave the choice of what was not carried over to the user; the recipe is valid with this value."""
        if place not in self.values:
            self.chosen[place] = value, question
            self.decide[place] = question

    def drop(self, place: str, reason: str) -> bool:
        """Leave behind what a place, or the section around it, was carried from; return whether there was any."""
        owners = [one for one in self.origins if f"{place}.".startswith(f"{one}.") or one.startswith(f"{place}.")]
        for owner in owners:
            self.left.append((self.origins.pop(owner), reason))
            self.values.pop(owner, None)
            self.rewards = [one for one in self.rewards if owner != f"rewards.{one['name']}"]
        return bool(owners)

    def nested(self) -> dict[str, Any]:
        """Return the recipe as nested mappings."""
        chosen = {place: value for place, (value, _) in self.chosen.items()}
        nested: dict[str, Any] = {"rewards": [dict(one) for one in self.rewards]} if self.rewards else {}
        for place, value in (chosen | self.values).items():
            *sections, key = place.split(".")
            holder = nested
            for section in sections:
                holder = holder.setdefault(section, {})
            holder[key] = value
        return nested
