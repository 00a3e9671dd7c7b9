"""What one look at a machine comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        status: `ok`; `warn`, a run works but not as well as it could; `fail`, a run could not work.
        found: what was found.
        advice: what to do about it, where there is something to do.
    """

    name: str
    status: Status
    found: str
    advice: str = ""
