"""The result of one check of a machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        status: `ok`; `warn`, a run works, but not as well as it could; `fail`, a run cannot work.
        found: what was found.
        advice: what to do about it, if anything.
    """

    name: str
    status: Status
    found: str
    advice: str = ""
