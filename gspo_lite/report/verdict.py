"""What a run brought, in one sentence that says no more than the intervals allow."""

from __future__ import annotations

from typing import Any


def verdict(evaluation: dict[str, Any]) -> str:
    """One sentence on held-out accuracy before and after, from the figures of eval.json."""
    before, after = evaluation.get("before"), evaluation.get("after")
    if before is None:
        return "Nothing was measured on held-out problems."
    if after is None:
        return f"Held-out accuracy was {percent(before)} before training, which did not end."
    intervals = f"95% intervals {interval(before)} and {interval(after)}"
    figures = f"from {percent(before)} to {percent(after)} ({intervals}) on {after['n']} unseen problems"
    if apart(before["ci95"], after["ci95"]):
        word = "rose" if after["accuracy"] > before["accuracy"] else "fell"
        return f"Held-out accuracy {word} {figures}."
    if before["accuracy"] == after["accuracy"]:
        figures = f"{percent(after)} (95% interval {interval(after)}) on {after['n']} unseen problems"
        return f"Held-out accuracy stayed at {figures}."
    return f"Held-out accuracy went {figures}: the intervals overlap, so this may be chance."


def apart(first: list[float], second: list[float]) -> bool:
    """Whether two intervals have no point in common."""
    return first[1] < second[0] or second[1] < first[0]


def percent(figures: dict[str, Any]) -> str:
    return f"{figures['accuracy']:.1%}"


def interval(figures: dict[str, Any]) -> str:
    low, high = figures["ci95"]
    return f"{low:.0%} to {high:.0%}"
