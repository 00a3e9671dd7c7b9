"""Draws the charts of a run as two PNG files, for GitHub and the model card on the hub, which show no HTML pages."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gspo_lite.report.chart import Chart

PALETTE = ("#0072B2", "#D55E00", "#007A5E", "#A8508A", "#555555", "#56B4E9")  # from Okabe and Ito, dark enough on white
AREAS = {1: "#0072B222", 2: "#0072B255", 3: "#D55E0066"}
PER_FILE = 6
NAMES = ("learning.png", "policy.png")


def write_plots(charts: Sequence[Chart], folder: Path) -> list[str]:
    """Replace the plots in a folder with two files of up to six charts each; return the names of the files."""
    shutil.rmtree(folder, ignore_errors=True)
    if not charts:
        return []
    folder.mkdir(parents=True)
    important = [chart for chart in charts if not chart.title.startswith("Reward ")]
    others = [chart for chart in charts if chart not in important]
    groups = [(important[:2] + others)[:PER_FILE], important[2 : 2 + PER_FILE]]
    written = []
    for name, group in zip(NAMES, groups, strict=True):
        if group:
            (folder / f".{name}").write_bytes(picture(group))
            os.replace(folder / f".{name}", folder / name)
            written.append(name)
    return written


def picture(charts: Sequence[Chart]) -> bytes:
    """Return up to six charts as one PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(charts) // 3)
    figure = Figure(figsize=(11, 2.9 * rows), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for place, chart in enumerate(charts):
        draw(chart, figure.add_subplot(rows, 3, place + 1))
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def draw(chart: Chart, axes: Any) -> None:
    """Draw a chart on its axes."""
    from matplotlib.ticker import PercentFormatter

    for band in chart.bands:
        steps, lower, upper = zip(*band.points, strict=True)
        axes.fill_between(steps, lower, upper, color=AREAS[band.strength], linewidth=0, label=band.label)
    for value in chart.rules.values():
        axes.axhline(value, color="#555555", linewidth=1, linestyle=":")
    for one in chart.series:
        color = PALETTE[one.color % len(PALETTE)]
        if one.raw:
            axes.plot(*zip(*one.raw, strict=True), color=color, linewidth=0.8, alpha=0.35)
        axes.plot(*zip(*one.points, strict=True), color=color, linewidth=1.8, label=one.label)
        for (step, y), (low, high) in zip(one.points, one.ends, strict=False):
            axes.errorbar([step], [y], [[max(y - low, 0)], [max(high - y, 0)]], color=color, fmt="o", capsize=3)
    if chart.bend:
        axes.set_yscale("asinh", linear_width=chart.bend)
    axes.set_ylim(*chart.limits)
    if chart.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title(chart.title, fontsize=10)
    axes.set_xlabel("step", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(chart.series) + len(chart.bands) > 1:
        axes.legend(fontsize=7, frameon=False)
