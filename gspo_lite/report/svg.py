"""Draws a chart as inline SVG; colors come from the page's style sheet, so that light and dark need one drawing.

Owns sizes, ticks and line styles. Every text is escaped.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable
from dataclasses import dataclass

from gspo_lite.report.chart import Band, Chart, Series

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 10, 34
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 3", "4 2")  # one per color, so that no line is recognized by color alone


@dataclass(frozen=True)
class Frame:
    """The mapping from the numbers of a chart to places in the picture."""

    low_x: float
    high_x: float
    low_y: float
    high_y: float
    bend: float | None

    def x(self, value: float) -> float:
        return LEFT + (value - self.low_x) / (self.high_x - self.low_x) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high, at = (bent(one, self.bend) for one in (self.low_y, self.high_y, value))
        return HEIGHT - BOTTOM - (at - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def bent(value: float, bend: float | None) -> float:
    """Return a value as drawn: unchanged, or logarithmic beyond `bend`."""
    return value if bend is None else math.asinh(value / bend)


def drawing(chart: Chart) -> str:
    """Return a chart as an SVG element with a label for screen readers and its figures for the read-out."""
    frame = frame_of(chart)
    parts = [
        *axis_parts(chart, frame),
        *(band_part(band, frame) for band in chart.bands),
        *(rule_part(value, frame) for value in chart.rules.values()),
        *(part for one in chart.series for part in series_parts(one, frame)),
        f'<line class="cursor" x1="0" x2="0" y1="{TOP}" y2="{HEIGHT - BOTTOM}" visibility="hidden"/>',
    ]
    figures = json.dumps({one.label: [[short(x), short(y)] for x, y in one.points] for one in chart.series})
    range_x = f'data-left="{LEFT}" data-right="{WIDTH - RIGHT}" data-low="{frame.low_x:g}" data-high="{frame.high_x:g}"'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(in_words(chart))}" {range_x} '
        f'data-percent="{int(chart.percent)}" data-series="{html.escape(figures)}">{"".join(parts)}</svg>'
    )


def in_words(chart: Chart) -> str:
    """Return a description of a chart for screen readers."""
    show = formatter(chart.percent)
    described = []
    for one in chart.series:
        (first, begin), (last, end) = one.points[0], one.points[-1]
        described.append(f"{one.label} from {show(begin)} at step {first:g} to {show(end)} at step {last:g}")
    return f"{chart.title}: {'; '.join(described)}"


def frame_of(chart: Chart) -> Frame:
    """Return limits that hold everything a chart draws."""
    xs = [x for one in chart.series for x, _ in one.points]
    ys = [y for one in chart.series for _, y in [*one.points, *one.raw]]
    ys += [end for one in chart.series for pair in one.ends for end in pair]
    ys += [end for band in chart.bands for _, low, high in band.points for end in (low, high)]
    ys += chart.rules.values()
    low, high = (limit if limit is not None else pick(ys) for limit, pick in zip(chart.limits, (min, max), strict=True))
    low, high = min(low, *ys), max(high, *ys)
    if low == high:
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (0.0, 1.0)
    pad = 0 if chart.percent or chart.bend else (high - low) * 0.06
    low, high = low - (pad if chart.limits[0] is None else 0), high + pad
    left, right = min(xs), max(xs)
    return Frame(left, right if right > left else left + 1, low, high, chart.bend)


def axis_parts(chart: Chart, frame: Frame) -> list[str]:
    """Return grid, ticks and the name of the horizontal axis."""
    show = formatter(chart.percent)
    parts = []
    for value in ticks(frame.low_y, frame.high_y) if chart.bend is None else powers(frame):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{show(value)}</text>')
    for value in ticks(frame.low_x, frame.high_x):
        x = frame.x(value)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{value:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*parts, f'<text x="{middle:g}" y="{HEIGHT - 5}" text-anchor="middle">step</text>']


def series_parts(one: Series, frame: Frame) -> list[str]:
    """Return a line, or dots with whiskers, and the faint figures behind it."""
    color = one.color % len(DASHES)
    parts = [f'<polyline class="raw s{color}" points="{places(one.raw, frame)}"/>'] if one.raw else []
    style = f' stroke-dasharray="{DASHES[color]}"' if DASHES[color] else ""
    parts.append(f'<polyline class="line s{color}"{style} points="{places(one.points, frame)}"/>')
    shift = 3 * (color - 0.5) if one.ends else 0  # whiskers side by side, not on top of each other
    for (x, y), (low, high) in zip(one.points, one.ends, strict=False):
        at = min(max(frame.x(x) + shift, LEFT + 4), WIDTH - RIGHT - 4)
        whisker = f'x1="{at:.1f}" x2="{at:.1f}" y1="{frame.y(low):.1f}" y2="{frame.y(high):.1f}"'
        parts.append(f'<line class="line s{color}" {whisker}/>')
        parts.append(f'<circle class="dot s{color}" cx="{at:.1f}" cy="{frame.y(y):.1f}" r="3.5"/>')
    return parts


def band_part(band: Band, frame: Frame) -> str:
    """Return the area between two lines."""
    upper = [(x, high) for x, _, high in band.points]
    lower = [(x, low) for x, low, _ in reversed(band.points)]
    return f'<polygon class="band b{band.strength}" points="{places(upper + lower, frame)}"/>'


def rule_part(value: float, frame: Frame) -> str:
    return f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{frame.y(value):.1f}" y2="{frame.y(value):.1f}"/>'


def places(points: list[tuple[float, float]], frame: Frame) -> str:
    """Return points as the attribute of an SVG element."""
    return " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)


def ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers between two ends."""
    rough = (high - low) / 4
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * times for times in (1, 2, 2.5, 5, 10) if size * times >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def powers(frame: Frame) -> list[float]:
    """Return 0 and powers of ten on either side for a bent axis, without those that would be drawn too close."""
    found = [0.0]
    for sign, end in ((1, frame.high_y), (-1, -frame.low_y)):
        if end > 0 and frame.bend:
            exponents = range(math.ceil(math.log10(frame.bend)), math.floor(math.log10(end)) + 1)
            found += [sign * 10.0**n for n in exponents]
    kept: list[float] = []
    for value in found:
        if all(abs(frame.y(value) - frame.y(other)) >= 13 for other in kept):
            kept.append(value)
    return kept


def formatter(percent: bool) -> Callable[[float], str]:
    """Return the function that writes a figure of a chart."""
    if percent:
        return lambda value: f"{value:.0%}"
    return lambda value: f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def short(value: float) -> float:
    """Round a value to four digits, enough for the read-out."""
    return float(f"{value:.4g}")
