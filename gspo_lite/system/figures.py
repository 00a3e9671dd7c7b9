"""The one way figures and texts are written for people: shares, intervals, rewards, times, columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# What TRL calls `clip_ratio` and `clipped_ratio`: how much the objective cuts, and completions that the limit ended.
RATIO_CLIPPED, CUT_OFF = "ratio clipped", "cut off"


def share(value: float | None) -> str:
    """Return a share as a percentage: 0.496 is `49.6%`."""
    return "not measured" if value is None else f"{value:.1%}"


def interval(ends: Sequence[float]) -> str:
    """Return the confidence interval of a share: `45% to 54%`."""
    low, high = ends
    return f"{low:.0%} to {high:.0%}"


def measured(figures: Mapping[str, Any], key: str, ends: str | None = None) -> str:
    """Return a share from eval.json, followed by its interval if `ends` names one: `49.6% (45% to 54%)`."""
    if ends is None or figures[ends] is None:
        return share(figures[key])
    return f"{share(figures[key])} ({interval(figures[ends])})"


def number(value: float | None, digits: int = 2, missing: str = "none") -> str:
    """Return a number with this many decimals, or `missing` for None."""
    return missing if value is None else f"{value:.{digits}f}"


def minutes(seconds: float) -> str:
    """Return seconds as `m:ss`, in whole seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def brief(text: str, width: int) -> str:
    """Return a text on one line; if it is longer than `width`, its middle is left out."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width * 2 // 3 - 1]} … {line[-width // 3 + 2 :]}"


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table, each column as wide as its longest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
