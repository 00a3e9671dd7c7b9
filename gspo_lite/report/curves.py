"""Which curves a run has, as plain numbers: series, bands and lines that `svg` and `png` draw.

Owns what is shown together and how it is named. Must not know how it is drawn.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gspo_lite.report.facts import PHASES, RunFacts

LOG_RATIO = ("mean", "std", "min", "max")  # of log s_i, as gspo/log_ratio_...
MOST_POINTS = 240  # of one series; more are averaged together
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        colour: place in the palette.
        raw: the figures behind a smoothed line, drawn faint.
        ends: lower and upper end of each point's interval; points with it are drawn as dots with whiskers.
    """

    label: str
    points: Points
    colour: int = 0
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
    """One picture.

    Attributes:
        limits: of the vertical axis; None is set by the figures.
        percent: figures are shares.
        rules: horizontal lines, by label.
        bend: the axis is linear up to about this value and logarithmic beyond; None is linear.
    """

    title: str
    series: list[Series]
    note: str = ""
    limits: tuple[float | None, float | None] = (None, None)
    percent: bool = False
    bands: list[Band] = field(default_factory=list)
    rules: dict[str, float] = field(default_factory=dict)
    bend: float | None = None


@dataclass(frozen=True)
class Curve:
    """A chart of one figure of metrics.jsonl, one line for each run; `smooth` draws a running mean over it."""

    key: str
    title: str
    limits: tuple[float | None, float | None] = (None, None)
    percent: bool = False
    smooth: bool = False


LENGTH = Curve("completions/mean_length", "Completion length, tokens", (0, None), smooth=True)
TRUNCATED = Curve("completions/clipped_ratio", "Completions cut off", (0, 1), percent=True)
ENTROPY = Curve("entropy", "Entropy, nats per token", (0, None), smooth=True)
ENTROPY_ACTIVE = Curve(
    "entropy_active_rows", "Entropy of rows with an advantage, nats per token", (0, None), smooth=True
)
FLAT = Curve("frac_reward_zero_std", "Groups without variance", (0, 1), percent=True, smooth=True)
KL = Curve("kl", "KL from the reference, nats per token", (0, None), smooth=True)
SPEED = Curve("tokens_per_second", "Speed, tokens per second", (0, None))
CLIPPED = Curve("clip_ratio/region_mean", "Share clipped", (0, 1), percent=True, smooth=True)
SPREAD = Curve("gspo/log_ratio_std", "Spread of log s, standard deviation", (0, None), smooth=True)


def charts(runs: Sequence[RunFacts]) -> list[Chart]:
    """Every chart that these runs have figures for, in reading order."""
    alone = runs[0] if len(runs) == 1 else None
    rewards = sorted(
        {key for run in runs for step in run.steps for key in step if re.fullmatch(r"rewards/.+/mean", key)}
    )
    drawn = [
        accuracy_chart(runs),
        curve_chart(Curve("reward", "Reward, weighted sum", smooth=True), runs),
        *(
            curve_chart(Curve(key, f"Reward {key[len('rewards/') : -len('/mean')]}", smooth=True), runs)
            for key in rewards
        ),
        *(curve_chart(curve, runs) for curve in (FLAT, LENGTH, TRUNCATED, ENTROPY, ENTROPY_ACTIVE)),
        clip_chart(alone) if alone else curve_chart(CLIPPED, runs),
        ratio_chart(alone) if alone else curve_chart(SPREAD, runs),
        curve_chart(KL, runs),
        curve_chart(SPEED, runs),
    ]
    return [chart for chart in drawn if chart is not None]


def curve_chart(curve: Curve, runs: Sequence[RunFacts]) -> Chart | None:
    """One figure of each run; None where no run has two points of it."""
    series = []
    window = 1
    for colour, run in enumerate(runs):
        points = points_of(run, curve.key)
        if len(points) > 1:
            window = max(len(points) // 16, 1) if curve.smooth else 1
            smooth = running_mean(points, window)
            series.append(Series(run.name, thinned(smooth), colour, thinned(points) if window > 1 else []))
    if not series:
        return None
    note = "Bold: the mean of neighbouring steps; faint: each step." if any(one.raw for one in series) else ""
    return Chart(curve.title, series, note, curve.limits, curve.percent)


def accuracy_chart(runs: Sequence[RunFacts]) -> Chart | None:
    """Held-out accuracy before and after, with its intervals."""
    alone = len(runs) == 1
    kinds = [("greedy", "accuracy", "ci95"), ("sampled", "sampled_accuracy", "sampled_ci95")][: 2 if alone else 1]
    series = []
    for place, run in enumerate(runs):
        measured = [(0 if phase == "before" else run.last_step, phase) for phase in PHASES if phase in run.evaluation]
        for kind, (label, key, ends) in enumerate(kinds):
            points = [(float(step), run.evaluation[phase][key]) for step, phase in measured]
            intervals = [tuple(run.evaluation[phase][ends]) for _, phase in measured]
            if points:
                series.append(Series(label if alone else run.name, points, kind if alone else place, [], intervals))
    note = "Before and after training; whiskers are 95% intervals." + ("" if alone else " Greedy answers.")
    return Chart("Held-out accuracy", series, note, (0, 1), True) if series else None


def clip_chart(run: RunFacts) -> Chart | None:
    """Shares clipped on either side."""
    level = "tokens" if run.recipe["objective"].get("algorithm") == "grpo" else "sequences"
    sides = (("below 1 - epsilon", "low"), ("above 1 + epsilon_high", "high"))
    series = []
    for colour, (label, side) in enumerate(sides):
        points = points_of(run, f"gspo/clip_{side}_{level}") or points_of(run, f"clip_ratio/{side}_mean")
        if len(points) > 1:
            series.append(Series(label, thinned(rollout_means(run, points)), colour))
    note = "Mean over the steps on one rollout; the first of them clips nothing, as no weight has moved yet."
    return Chart(f"Share of {level} clipped", series, note, (0, 1), True) if series else None


def ratio_chart(run: RunFacts) -> Chart | None:
    """log s_i of every step between the clip's ends, beside the noise that is there before a weight has moved."""
    mean = points_of(run, "gspo/log_ratio_mean")
    if len(mean) < 2:
        return None
    steps = [step for step in run.steps if all(step.get(f"gspo/log_ratio_{name}") is not None for name in LOG_RATIO)]
    pooled = [pooled_ratio(part) for part in by_rollout(run, steps)]
    bands = [
        Band("smallest to largest", thinned_band([(x, low, high) for x, _, _, low, high in pooled]), 1),
        Band("one standard deviation", thinned_band([(x, m - s, m + s) for x, m, s, _, _ in pooled]), 2),
    ]
    floors = points_of(run, "gspo/noise_floor")
    note = "Of all steps on one rollout. Linear near 0, logarithmic beyond the clip."
    if floors:
        ends = (mean[0][0], mean[-1][0])
        floor = sum(value for _, value in floors) / len(floors)
        bands.append(Band("noise floor", [(x, -floor, floor) for x in ends], 3))
        size = f"{floor:.1e}" if floor else "0, no rounding at all"
        note += f" Noise floor, log s before any weight has moved: {size}."
    else:
        note += " The noise floor was not measured: old and new log-probabilities were one and the same pass."
    line = Series("mean", thinned([(x, m) for x, m, *_ in pooled]))
    return Chart("log s, the sequence ratio", [line], note, bands=bands, **clip_rules(run))


def pooled_ratio(steps: list[dict[str, Any]]) -> tuple[float, float, float, float, float]:
    """Step, mean, standard deviation, smallest and largest of log s over several steps together."""
    means, spreads, lows, highs = ([step[f"gspo/log_ratio_{name}"] for step in steps] for name in LOG_RATIO)
    middle = mean_of(means)
    variance = mean_of([m**2 + s**2 for m, s in zip(means, spreads, strict=True)]) - middle**2
    return steps[-1]["step"], middle, math.sqrt(max(variance, 0.0)), min(lows), max(highs)


def by_rollout(run: RunFacts, rows: list[Any]) -> list[list[Any]]:
    """Rows of steps in the groups that were taken on one rollout; one by one where there are too few of them."""
    training = run.recipe["training"]
    passes = training.get("steps_per_generation", 1) * training.get("num_iterations", 1)
    size = max(passes // training.get("gradient_accumulation_steps", 1), 1)
    size = size if len(rows) >= 4 * size else 1
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def rollout_means(run: RunFacts, points: Points) -> Points:
    """Points as means over the steps on one rollout, at the last of them."""
    return [(part[-1][0], mean_of([y for _, y in part])) for part in by_rollout(run, points)]


def clip_rules(run: RunFacts) -> dict[str, Any]:
    """The ends of the clip as horizontal lines, and where the axis bends."""
    epsilon = run.recipe["objective"].get("epsilon")
    if not epsilon or epsilon >= 1:
        return {}
    high = run.recipe["objective"].get("epsilon_high") or epsilon
    return {"rules": {"clip": math.log(1 - epsilon), "clip, upper": math.log(1 + high)}, "bend": epsilon}


def points_of(run: RunFacts, key: str) -> Points:
    """Steps and figures of one metric, where it has any."""
    return [(step["step"], step[key]) for step in run.steps if step.get(key) is not None]


def running_mean(points: Points, window: int) -> Points:
    """Each figure as the mean of up to `window` figures around it."""
    half, values = window // 2, [value for _, value in points]
    means = []
    for place, (step, _) in enumerate(points):
        near = values[max(place - half, 0) : place + half + 1]
        means.append((step, sum(near) / len(near)))
    return means


def thinned(points: Points) -> Points:
    """At most `MOST_POINTS` points; neighbours are averaged."""
    return [(mean_of([x for x, _ in part]), mean_of([y for _, y in part])) for part in parts(points)]


def thinned_band(points: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """At most `MOST_POINTS` points; of neighbours the lowest and the highest stay."""
    return [
        (mean_of([x for x, _, _ in p]), min(low for _, low, _ in p), max(high for _, _, high in p))
        for p in parts(points)
    ]


def parts(points: list[Any]) -> list[list[Any]]:
    """The points in runs of equal size, no more than `MOST_POINTS` of them."""
    size = -(-len(points) // MOST_POINTS) or 1
    return [points[start : start + size] for start in range(0, len(points), size)]


def mean_of(values: list[float]) -> float:
    return sum(values) / len(values)
