"""The outcome of runs in sentences that claim no more than the intervals allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gspo_lite.system.figures import interval, measured, number, share
from gspo_lite.training.watch.stop_early import ACCURACY, HIGH, LOW, STOPPED_EARLY, evaluated


def verdict(evaluation: dict[str, Any]) -> str:
    """Return one sentence on held-out accuracy before and after, from the figures of eval.json."""
    before, after = evaluation.get("before"), evaluation.get("after")
    if before is None:
        return "Nothing was measured on held-out problems."
    if before["accuracy"] is None:
        return unanswered(before, after)
    if after is None:
        return f"Held-out accuracy was {share(before['accuracy'])} before training, which did not finish."
    intervals = f"95% intervals {interval(before['ci95'])} and {interval(after['ci95'])}"
    first, last, problems = share(before["accuracy"]), share(after["accuracy"]), f"on {after['n']} unseen problems"
    figures = f"from {first} to {last} ({intervals}) {problems}"
    if disjoint(before["ci95"], after["ci95"]):
        return f"Held-out accuracy {'rose' if after['accuracy'] > before['accuracy'] else 'fell'} {figures}."
    if before["accuracy"] == after["accuracy"]:
        return f"Held-out accuracy stayed at {last} (95% interval {interval(after['ci95'])}) {problems}."
    return f"Held-out accuracy went {figures}: the intervals overlap, so this may be chance."


def unanswered(before: dict[str, Any], after: dict[str, Any] | None) -> str:
    """Return the sentence on problems without answers, which only rewards can tell apart."""
    means = [
        f"{name} {number(mean, 3)}" + (f" to {number(after['rewards'].get(name), 3)}" if after else "")
        for name, mean in before["rewards"].items()
    ]
    rewards = f" Mean rewards: {', '.join(means)}." if means else ""
    return f"Held-out problems have no answers, so accuracy was not measured.{rewards}"


def watched(steps: Sequence[Any], evaluation: dict[str, Any], events: Sequence[Any]) -> list[str]:
    """Return a sentence each on an early end and on the step that was kept, if held-out problems decided either.

    Args:
        steps: metrics.jsonl. evaluation: eval.json. events: events.jsonl.
    """
    lines = [f"Stopped early: {event['text']}." for event in events if event["kind"] == STOPPED_EARLY]
    kept = evaluation.get("after", {}).get("step")
    rows = evaluated(steps)
    if kept is not None:
        best = next(row for row in rows if row["step"] == kept)
        figures = f"{share(best[ACCURACY])} ({interval((best[LOW], best[HIGH]))}) of {best['eval_n']} held-out problems"
        which = f"step {kept}, the best of {len(rows)} evaluations in training"
        lines.append(f"The adapter is that of {which}: {figures}.")
    return lines


def comparison(runs: Sequence[Any]) -> list[str]:
    """Return one sentence for each run, and one on whether the intervals separate the best from the others.

    Args:
        runs: objects with `name`, `evaluation` and `verdict`.
    """
    lines = [f"{run.name}: {run.verdict}" for run in runs]
    ended = [run for run in runs if run.evaluation.get("after", {}).get("accuracy") is not None]
    if len(ended) < 2:
        return lines
    best, *others = sorted(ended, key=lambda run: -run.evaluation["after"]["accuracy"])
    figures = best.evaluation["after"]
    beaten = [run.name for run in others if disjoint(figures["ci95"], run.evaluation["after"]["ci95"])]
    near = [run.name for run in others if run.name not in beaten]
    parts = [f"better than {', '.join(beaten)}"] if beaten else []
    parts += [f"indistinguishable from {', '.join(near)}, because the intervals overlap"] if near else []
    highest = f"{best.name}, {measured(figures, 'accuracy', 'ci95')}"
    return [*lines, f"Highest after training: {highest}, {'; '.join(parts)}."]


def disjoint(first: list[float], second: list[float]) -> bool:
    """Return whether two intervals have no point in common."""
    return first[1] < second[0] or second[1] < first[0]
