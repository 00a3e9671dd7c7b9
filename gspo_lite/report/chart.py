"""Charts as plain numbers: series, bands and lines that `svg` and `png` draw. Must not know what they are about."""

from __future__ import annotations

from dataclasses import dataclass, field

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """A line.

    Attributes:
        color: index into the palette.
        raw: the figures behind a smoothed line, drawn faint.
        ends: lower and upper end of each point's interval; such points are drawn as dots with whiskers.
    """

    label: str
    points: Points
    color: int = 0
    raw: Points = field(default_factory=list)
    ends: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Band:
    """An area between two lines, as (step, low, high); `strength` 1 is the faintest."""

    label: str
    points: list[tuple[float, float, float]]
    strength: int = 1


@dataclass(frozen=True)
class Chart:
    """A picture.

    Attributes:
        limits: limits of the vertical axis; None follows the figures.
        percent: whether figures are shares.
        rules: horizontal lines, by label.
        bend: value up to which the axis is linear, and logarithmic beyond; None is linear.
    """

    title: str
    series: list[Series]
    note: str = ""
    limits: tuple[float | None, float | None] = (None, None)
    percent: bool = False
    bands: list[Band] = field(default_factory=list)
    rules: dict[str, float] = field(default_factory=dict)
    bend: float | None = None
