"""What a run brought, in one sentence that says no more than the intervals allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gspo_lite.system.figures import interval, measured, share


def verdict(evaluation: dict[str, Any]) -> str:
    """One sentence on held-out accuracy before and after, from the figures of eval.json."""
    before, after = evaluation.get("before"), evaluation.get("after")
    if before is None:
        return "Nothing was measured on held-out problems."
    if after is None:
        return f"Held-out accuracy was {share(before['accuracy'])} before training, which did not end."
    intervals = f"95% intervals {interval(before['ci95'])} and {interval(after['ci95'])}"
    figures = (
        f"from {share(before['accuracy'])} to {share(after['accuracy'])} ({intervals}) on {after['n']} unseen problems"
    )
    if apart(before["ci95"], after["ci95"]):
        word = "rose" if after["accuracy"] > before["accuracy"] else "fell"
        return f"Held-out accuracy {word} {figures}."
    if before["accuracy"] == after["accuracy"]:
        figures = f"{share(after['accuracy'])} (95% interval {interval(after['ci95'])}) on {after['n']} unseen problems"
        return f"Held-out accuracy stayed at {figures}."
    return f"Held-out accuracy went {figures}: the intervals overlap, so this may be chance."


def between(runs: Sequence[Any]) -> list[str]:
    """One sentence for each run, and one on whether their intervals tell the best from the others.

    Args:
        runs: with `name` and `evaluation`.
    """
    lines = [f"{run.name}: {run.verdict}" for run in runs]
    ended = [run for run in runs if "after" in run.evaluation]
    if len(ended) < 2:
        return lines
    best, *others = sorted(ended, key=lambda run: -run.evaluation["after"]["accuracy"])
    figures = best.evaluation["after"]
    beaten = [run.name for run in others if apart(figures["ci95"], run.evaluation["after"]["ci95"])]
    near = [run.name for run in others if run.name not in beaten]
    parts = [f"better than {', '.join(beaten)}"] if beaten else []
    parts += [f"not to be told from {', '.join(near)}: the intervals overlap"] if near else []
    return [
        *lines,
        f"Highest after training: {best.name}, {measured(figures, 'accuracy', 'ci95')}, {'; '.join(parts)}.",
    ]


def apart(first: list[float], second: list[float]) -> bool:
    """Whether two intervals have no point in common."""
    return first[1] < second[0] or second[1] < first[0]
