"""Writes the table as a page: `python -m tests.training.trl_behaviours.page`."""

from __future__ import annotations

from pathlib import Path

from tests.training.trl_behaviours.behaviour import Behaviour
from tests.training.trl_behaviours.table import TABLE, THEMES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "trl_behaviours.md"
SHOWN = {
    "error": "the error",
    "found": "what is looked at",
    "training": "samples, weights and figures",
    "warned": "warnings",
}
HEAD = """# What TRL's users rely on

Written by `python -m tests.training.trl_behaviours.page`; `tests/training/test_trl_behaviours.py` holds every line.

Each behaviour is run twice on a model of a few thousand parameters, on TRL 1.14's `GRPOTrainer` and on `GSPOTrainer`,
which is handed the same `GRPOConfig`. Compared are the type of an error, TRL's warnings, the ids of every prompt and
every completion, all weights before training (bit for bit) and after it (within 2e-5 of their movement, which is
rounding), every figure that TRL logs except clocks, and what the behaviour is about: files, tables, calls, types. What
is said to differ must differ, and what shows nothing beyond TRL's defaults fails, too. Two things are made equal first,
because they are choices and not results: TRL's trainer takes whole groups into each optimizer step, and it draws each
row's tokens from a stream of the row's own, as `GSPOTrainer` does.

**{count} behaviours: {agree} agree, {differ} differ on purpose.**

In every run `GSPOTrainer` logs more (`gspo/...`, `rewards/NAME/none_count`, `error_count` and `seconds`, with tools
`tools/...`, `turns/mean` and `tokens/...`) and prints warnings of its own. It logs `entropy` and `vespo/phi_seq_mean`
as `entropy_active_rows` and `vespo/phi_active_rows` where rows that teach nothing are not computed: a mean over the
others is not TRL's figure. Arguments after `processing_class` are taken by name only. A `GSPOConfig` has the paper's
defaults where TRL's differ: level `sequence`, loss `grpo`, epsilon 3e-4 and 4e-4, four optimizer steps a rollout.
"""


def text() -> str:
    """Return the page."""
    differing = [behaviour for behaviour in TABLE if behaviour.unlike]
    counts = {"count": len(TABLE), "agree": len(TABLE) - len(differing), "differ": len(differing)}
    table = ["## Differences", "", "| behaviour | what differs | reason |", "|---|---|---|", *differences(differing)]
    return "\n".join([HEAD.format(**counts), *table, "", "## Agreement", "", *agreements()]) + "\n"


def differences(differing: list[Behaviour]) -> list[str]:
    """Return a line for each difference, with all behaviours that show it."""
    names: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for behaviour in differing:
        names.setdefault((behaviour.unlike, behaviour.reason), []).append(behaviour.name)
    return [
        f"| {'; '.join(shown)} | {', '.join(SHOWN.get(name, f'`{name}`') for name in unlike)} | {reason} |"
        for (unlike, reason), shown in names.items()
    ]


def agreements() -> list[str]:
    """Return a line for each theme."""
    agreeing = {theme: [one.name for one in rows if not one.unlike] for theme, rows in THEMES.items()}
    return [f"- **{theme}** ({len(names)}): {'; '.join(names)}." for theme, names in agreeing.items()]


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
