"""What a check of a recipe finds: a reason to refuse it, or a warning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gspo_lite.errors import Place

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """A reason to refuse a recipe, or a warning to its user, and the key that it concerns."""

    place: Place
    message: str
    severity: Severity = "error"
