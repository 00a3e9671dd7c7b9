"""The last screen of a run: what happened, before and after, where it is and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gspo_lite import folder as run_folder
from gspo_lite.report import verdict

ROWS = (
    ("greedy accuracy", "accuracy", "ci95"),
    ("sampled accuracy", "sampled_accuracy", "sampled_ci95"),
    ("answer anywhere", "lenient_accuracy", None),
    ("right format", "format_rate", None),
)


def last_screen(folder: Path) -> str:
    """The screen of a finished run, from the files in its folder."""
    evaluation = run_folder.read_json(folder / run_folder.EVAL)
    facts = run_folder.read_json(folder / run_folder.ENVIRONMENT)
    steps = run_folder.read_jsonl(folder / run_folder.METRICS)[-1]["step"]
    return "\n".join(
        [
            "",
            verdict(evaluation),
            "",
            *table(evaluation["before"], evaluation["after"]),
            "",
            f"{steps} steps in {minutes(facts['seconds']['train'])}, the whole run in "
            f"{minutes(sum(facts['seconds'].values()))}, peak memory {facts['peak_memory_gib']:.1f} GiB",
            "",
            f"  {folder}/report.html     the report: open it in a browser",
            f"  {folder}/{run_folder.ADAPTER}/        the trained adapter, for PEFT",
            "",
            "next:",
            f"  gspo-lite chat {folder}                               talk to it",
            f"  gspo-lite eval {folder}                               measure it again",
            f"  gspo-lite export {folder} --to merged                 a model folder to use elsewhere",
            f"  gspo-lite run {folder}/{run_folder.RECIPE} --output FOLDER     the same run once more",
            "  gspo-lite recipes                                       other recipes to start from",
        ]
    )


def table(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Lines of figures before and after, with intervals where there are any."""
    lines = [f"  {'':18}{'before':>20}{'after':>20}"]
    for label, key, interval in ROWS:
        lines.append(f"  {label:18}{percent(before, key, interval):>20}{percent(after, key, interval):>20}")
    lines.append(f"  {'tokens, mean':18}{before['mean_tokens']:>20.1f}{after['mean_tokens']:>20.1f}")
    return lines


def lines_of(figures: dict[str, Any]) -> list[str]:
    """Lines of the figures of one evaluation."""
    lines = [f"{label:18}{percent(figures, key, interval):>20}" for label, key, interval in ROWS]
    lines.append(f"{'tokens, mean':18}{figures['mean_tokens']:>20.1f}")
    lines += [
        f"{name:18}{'-' if mean is None else format(mean, '.3f'):>20}" for name, mean in figures["rewards"].items()
    ]
    return [*lines, f"{'problems':18}{figures['n']:>20}"]


def percent(figures: dict[str, Any], key: str, interval: str | None) -> str:
    """A share in percent, with its 95 percent interval."""
    if interval is None:
        return f"{figures[key]:.1%}"
    low, high = figures[interval]
    return f"{figures[key]:.1%} ({low:.0%} to {high:.0%})"


def minutes(seconds: float) -> str:
    """Seconds as `m:ss`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
