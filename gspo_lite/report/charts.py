"""Curves of a run as inline SVG, in one colour that is told apart from the page in light and dark, and by everyone."""

from __future__ import annotations

import io
import re
from typing import Any

LINE = "#2a78c2"  # readable on white and on near-black, and to colour-blind eyes
CHARTS = (
    ("reward", "reward", (None, None)),
    ("completions/mean_length", "completion length, tokens", (0, None)),
    ("clip_ratio/region_mean", "share clipped", (0, 1)),
    ("gspo/log_ratio_std", "spread of log s", (0, None)),
    ("entropy", "entropy", (0, None)),
    ("entropy_active_rows", "entropy, rows with an advantage", (0, None)),
    ("frac_reward_zero_std", "groups without variance", (0, 1)),
    ("tokens_per_second", "tokens per second", (0, None)),
)


def charts(steps: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Title and SVG of every curve the metrics hold at least two points of."""
    rewards = sorted({key for step in steps for key in step if re.fullmatch(r"rewards/.+/mean", key)})
    wanted = [*CHARTS, *((key, f"reward {key.split('/')[1]}", (None, None)) for key in rewards)]
    drawn = []
    for key, title, limits in wanted:
        points = [(step["step"], step[key]) for step in steps if step.get(key) is not None]
        if len(points) > 1:
            drawn.append((title, curve(points, limits)))
    return drawn


def curve(points: list[tuple[float, float]], limits: tuple[float | None, float | None]) -> str:
    """One curve; its text takes the page's colour."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(
        {"svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif", "svg.hashsalt": "x"}
    ):
        figure = Figure(figsize=(3.4, 2.0), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.plot(*zip(*points, strict=True), color=LINE, linewidth=1.6)
        axes.set_ylim(*limits)
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return themed(text.getvalue())


def themed(svg: str) -> str:
    """The SVG element alone, black turned into the colour of the text around it, scaled to the space it has."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"#000000|#262626|(?<=fill: )black", "currentColor", element)
    element = re.sub(r'<text style="', '<text fill="currentColor" style="', element)
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", element, count=1)
