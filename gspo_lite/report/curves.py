"""The curves of a run: which figures of metrics.jsonl and eval.json are drawn, in which charts.

Owns the choice and names of charts. Must not know how they are drawn.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gspo_lite.report.chart import Band, Chart, Points, Series
from gspo_lite.report.facts import PHASES, RunFacts
from gspo_lite.system.figures import CUT_OFF, RATIO_CLIPPED
from gspo_lite.tools.shown import CALLS, END_WORDS
from gspo_lite.training.watch.stop_early import ACCURACY, HIGH, LOW, evaluated

LOG_RATIO = ("mean", "std", "min", "max")  # of log s_i, as gspo/log_ratio_...
MOST_POINTS = 240  # of one series; neighbors are averaged beyond that


@dataclass(frozen=True)
class Curve:
    """A chart of one figure of metrics.jsonl, with one line per run; `smooth` adds a running mean."""

    key: str
    title: str
    limits: tuple[float | None, float | None] = (None, None)
    percent: bool = False
    smooth: bool = False


LENGTH = Curve("completions/mean_length", "Completion length, tokens", (0, None), smooth=True)
CUT = Curve("completions/clipped_ratio", f"Completions {CUT_OFF} at the length limit", (0, 1), percent=True)
ENTROPY = Curve("entropy", "Entropy, nats per token", (0, None), smooth=True)
ENTROPY_ACTIVE = Curve(
    "entropy_active_rows", "Entropy of rows with an advantage, nats per token", (0, None), smooth=True
)
FLAT = Curve("frac_reward_zero_std", "Groups without variance", (0, 1), percent=True, smooth=True)
KL = Curve("kl", "KL from the reference, nats per token", (0, None), smooth=True)
TURNS = Curve("turns/mean", "Turns of the model in an episode", (0, None), smooth=True)
TOOL_CALLS = Curve(CALLS, "Calls of tools in an episode", (0, None), smooth=True)
ENDS = {f"tools/{end}": told for end, told in END_WORDS.items()}
TOKENS = {"tokens/own": "written by the model", "tokens/foreign": "results of tools"}
SPEED = Curve("tokens_per_second", "Speed, tokens per second", (0, None))
CLIPPED = Curve("clip_ratio/region_mean", RATIO_CLIPPED.capitalize(), (0, 1), percent=True, smooth=True)
SPREAD = Curve("gspo/log_ratio_std", "Spread of log s, standard deviation", (0, None), smooth=True)


def charts(runs: Sequence[RunFacts]) -> list[Chart]:
    """Return every chart that these runs have figures for, in reading order."""
    alone = runs[0] if len(runs) == 1 else None
    keys = {key for run in runs for step in run.steps for key in step}
    names = sorted(found.group(1) for key in keys if (found := re.fullmatch(r"rewards/(.+)/mean", key)))
    rewards = [Curve(f"rewards/{name}/mean", f"Reward {name}", smooth=True) for name in names]
    total = Curve("reward", "Reward, weighted sum", smooth=True)
    drawn = [
        accuracy_chart(runs),
        held_out_chart(runs),
        *(curve_chart(one, runs) for one in (total, *rewards, TURNS, TOOL_CALLS)),
        *tool_charts(alone),
        *(curve_chart(one, runs) for one in (FLAT, LENGTH, CUT, ENTROPY, ENTROPY_ACTIVE)),
        clip_chart(alone) if alone else curve_chart(CLIPPED, runs),
        ratio_chart(alone) if alone else curve_chart(SPREAD, runs),
        curve_chart(KL, runs),
        curve_chart(SPEED, runs),
    ]
    return [chart for chart in drawn if chart is not None]


def curve_chart(curve: Curve, runs: Sequence[RunFacts]) -> Chart | None:
    """Return the chart of one figure, or None if no run has two points of it."""
    series = []
    window = 1
    for color, run in enumerate(runs):
        points = points_of(run, curve.key)
        if len(points) > 1:
            window = max(len(points) // 16, 1) if curve.smooth else 1
            smooth = running_mean(points, window)
            series.append(Series(run.name, thinned(smooth), color, thinned(points) if window > 1 else []))
    if not series:
        return None
    note = "Bold: the mean of neighboring steps; faint: each step." if any(one.raw for one in series) else ""
    return Chart(curve.title, series, note, curve.limits, curve.percent)


def accuracy_chart(runs: Sequence[RunFacts]) -> Chart | None:
    """Return the chart of held-out accuracy before and after, with intervals."""
    alone = len(runs) == 1
    kinds = [("greedy", "accuracy", "ci95"), ("sampled", "sampled_accuracy", "sampled_ci95")][: 2 if alone else 1]
    series = []
    for place, run in enumerate(runs):
        measured = [(run.step_of(phase), phase) for phase in PHASES if phase in run.evaluation]
        measured = [(step, phase) for step, phase in measured if run.evaluation[phase]["accuracy"] is not None]
        for kind, (label, key, ends) in enumerate(kinds):
            points = [(float(step), run.evaluation[phase][key]) for step, phase in measured]
            intervals = [tuple(run.evaluation[phase][ends]) for _, phase in measured]
            if points:
                series.append(Series(label if alone else run.name, points, kind if alone else place, [], intervals))
    note = "Before and after training; whiskers are 95% intervals." + ("" if alone else " Greedy answers.")
    return Chart("Held-out accuracy", series, note, (0, 1), True) if series else None


def held_out_chart(runs: Sequence[RunFacts]) -> Chart | None:
    """Return the chart of held-out accuracy while training, with intervals if it is of one run."""
    series, bands = [], []
    for color, run in enumerate(runs):
        rows = evaluated(run.steps)
        if len(rows) > 1:
            series.append(Series(run.name, thinned([(row["step"], row[ACCURACY]) for row in rows]), color))
            ends = thinned_band([(row["step"], row[LOW], row[HIGH]) for row in rows])
            bands += [Band("95% interval", ends)] if len(runs) == 1 else []
    note = "Greedy answers to the first held-out problems, at training.eval_steps."
    return Chart("Held-out accuracy while training", series, note, (0, 1), True, bands) if series else None


def tool_charts(run: RunFacts | None) -> list[Chart | None]:
    """Return the charts of calls that went wrong and of whose tokens episodes hold; none for a comparison of runs."""
    if run is None:
        return []
    failed = {key: label for key, label in ENDS.items() if any(value for _, value in points_of(run, key))}
    return [
        together("Calls of tools that went wrong", run, failed, percent=True),
        together("Tokens in an episode", run, TOKENS),
    ]


def together(title: str, run: RunFacts, figures: dict[str, str], *, percent: bool = False) -> Chart | None:
    """Return a chart of several figures of a run, by key and label, or None if it has two points of none."""
    series = []
    for color, (key, label) in enumerate(figures.items()):
        points = points_of(run, key)
        if len(points) > 1:
            smooth = running_mean(points, max(len(points) // 16, 1))
            series.append(Series(label, thinned(smooth), color))
    return Chart(title, series, "", (0, 1 if percent else None), percent) if series else None


def clip_chart(run: RunFacts) -> Chart | None:
    """Return the chart of the shares clipped on either side."""
    level = "tokens" if run.recipe["objective"].get("algorithm") == "grpo" else "sequences"
    sides = (("below 1 - epsilon", "low"), ("above 1 + epsilon_high", "high"))
    series = []
    for color, (label, side) in enumerate(sides):
        points = points_of(run, f"gspo/clip_{side}_{level}") or points_of(run, f"clip_ratio/{side}_mean")
        if len(points) > 1:
            series.append(Series(label, thinned(rollout_means(run, points)), color))
    note = "Mean over the steps on one rollout; the first step clips nothing, because the weights have not changed yet."
    return Chart(f"{RATIO_CLIPPED.capitalize()}, share of {level}", series, note, (0, 1), True) if series else None


def ratio_chart(run: RunFacts) -> Chart | None:
    """Return the chart of log s_i with the clip limits and the noise that precedes any change of the weights."""
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
    note = "Pooled over the steps on each rollout. Linear near 0, logarithmic beyond the clip."
    if floors:
        ends = (mean[0][0], mean[-1][0])
        floor = sum(value for _, value in floors) / len(floors)
        bands.append(Band("noise floor", [(x, -floor, floor) for x in ends], 3))
        size = f"{floor:.1e}" if floor else "0, no rounding"
        note += f" Noise floor, log s before the weights change: {size}."
    else:
        note += " The noise floor was not measured: old and new log-probabilities come from the same pass."
    line = Series("mean", thinned([(x, m) for x, m, *_ in pooled]))
    return Chart("log s, the sequence ratio", [line], note, bands=bands, **clip_rules(run))


def pooled_ratio(steps: list[dict[str, Any]]) -> tuple[float, float, float, float, float]:
    """Return last step, mean, standard deviation, minimum and maximum of log s, pooled over several steps."""
    means, spreads, lows, highs = ([step[f"gspo/log_ratio_{name}"] for step in steps] for name in LOG_RATIO)
    middle = mean_of(means)
    variance = mean_of([m**2 + s**2 for m, s in zip(means, spreads, strict=True)]) - middle**2
    return steps[-1]["step"], middle, math.sqrt(max(variance, 0.0)), min(lows), max(highs)


def by_rollout(run: RunFacts, rows: list[Any]) -> list[list[Any]]:
    """Return rows of steps grouped by rollout, or one by one if there are fewer than four rollouts."""
    training = run.recipe["training"]
    passes = training.get("steps_per_generation", 1) * training.get("num_iterations", 1)
    size = max(passes // training.get("gradient_accumulation_steps", 1), 1)
    size = size if len(rows) >= 4 * size else 1
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def rollout_means(run: RunFacts, points: Points) -> Points:
    """Return the mean of the points of each rollout, at its last step."""
    return [(part[-1][0], mean_of([y for _, y in part])) for part in by_rollout(run, points)]


def clip_rules(run: RunFacts) -> dict[str, Any]:
    """Return the clip limits as horizontal lines, and where the axis bends."""
    epsilon = run.recipe["objective"].get("epsilon")
    if not epsilon or epsilon >= 1:
        return {}
    high = run.recipe["objective"].get("epsilon_high") or epsilon
    return {"rules": {"clip": math.log(1 - epsilon), "clip, upper": math.log(1 + high)}, "bend": epsilon}


def points_of(run: RunFacts, key: str) -> Points:
    """Return the steps and figures of one metric, without missing ones."""
    return [(step["step"], step[key]) for step in run.steps if step.get(key) is not None]


def running_mean(points: Points, window: int) -> Points:
    """Return the running mean of points, each over up to `window` figures around it."""
    half, values = window // 2, [value for _, value in points]
    near = [values[max(place - half, 0) : place + half + 1] for place in range(len(points))]
    return [(step, mean_of(around)) for (step, _), around in zip(points, near, strict=True)]


def thinned(points: Points) -> Points:
    """Return at most `MOST_POINTS` points, averaging neighbors."""
    return [(mean_of([x for x, _ in part]), mean_of([y for _, y in part])) for part in parts(points)]


def thinned_band(points: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Return at most `MOST_POINTS` points of a band, keeping the minimum and maximum of neighbors."""
    columns = (zip(*part, strict=True) for part in parts(points))
    return [(mean_of(steps), min(lows), max(highs)) for steps, lows, highs in columns]


def parts(points: list[Any]) -> list[list[Any]]:
    """Split points into at most `MOST_POINTS` consecutive parts of equal size."""
    size = -(-len(points) // MOST_POINTS) or 1
    return [points[start : start + size] for start in range(0, len(points), size)]


def mean_of(values: Sequence[float]) -> float:
    return sum(values) / len(values)
