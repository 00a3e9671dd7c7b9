"""The texts of a model as a page can hold them: stripped, shortened, laid side by side, coloured token by token.

Every text here is hostile until the template has escaped it. Owns how much of it is shown.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gspo_lite.report.facts import PHASES, RunFacts

LONGEST = 1500  # characters of a text
ROOM = 700_000  # characters of escaped text a page has for problems, and half as many for training completions
SHADES = 3  # of either colour, for advantages of tokens

Row = dict[str, Any]


def visible(text: Any) -> str:
    """A text of a model as it can be shown: no control characters, and not without end."""
    text = clean(text)
    left_out = len(text) - LONGEST
    return text if left_out <= 0 else f"{text[:LONGEST]} ... ({left_out} characters more)"


def clean(text: Any) -> str:
    """A text without control characters and marks that turn its direction; as long as it was."""
    return re.sub(r"[^\n\t -~\u00a0-\u2027\u2030-\u2065\u2070-\ud7ff\ue000-\U0010ffff]", "\ufffd", str(text))


def last_line(text: str) -> str:
    """The question itself, behind any system message."""
    return text.strip().rsplit("\n\n", 1)[-1]


def problems(runs: Sequence[RunFacts]) -> list[Row]:
    """Held-out problems with their completions side by side: before and after, or after of each run.

    Returns:
        rows of prompt, answer, `sides` (label, completion, correct, rewards) and `kind`, such as `became right`; what
        changed comes first, and no more than a page has room for.
    """
    answered = [columns(run, PHASES) for run in runs] if len(runs) == 1 else [columns(run, PHASES[1:]) for run in runs]
    sides = [(name, rows) for one in answered for name, rows in one]
    if not sides:
        return []
    found = []
    for index, first in sides[0][1].items():
        there = [(name, rows[index]) for name, rows in sides if same(rows.get(index), first)]
        labelled = [{"label": name, **row} for name, row in there]
        found.append({**first, "sides": labelled, "kind": kind_of([row["correct"] is True for _, row in there])})
    found.sort(key=lambda row: not row["kind"].startswith(("became", "they differ")))
    return list(fitting(found, lambda row: [row["prompt"], *(side["completion"] for side in row["sides"])], ROOM))


def columns(run: RunFacts, phases: Iterable[str]) -> list[tuple[str, dict[int, Row]]]:
    """Label and held-out completions by index, of each phase there is."""
    found = []
    for phase in phases:
        rows = {row["index"]: row for row in run.samples if row["phase"] == phase}
        if rows:
            found.append((phase if len(tuple(phases)) > 1 else run.name, rows))
    return found


def same(row: Row | None, first: Row) -> bool:
    """Whether two runs were asked the same."""
    return row is not None and row["prompt"] == first["prompt"]


def kind_of(right: list[bool]) -> str:
    """What became of a problem."""
    if len(set(right)) == 1:
        return "all right" if right[0] else "all wrong"
    if len(right) == 2:
        return "became right" if right[1] else "became wrong"
    return "they differ"


def sampled(runs: Sequence[RunFacts]) -> list[Row]:
    """Training completions from the first to the last rollout, evenly, as many as there is room for."""
    rows = [
        {**row, "run": run.name, "kind": sign_of(row), "parts": coloured(row)} for run in runs for row in run.rollouts
    ]
    wanted = spread(rows, 60)
    return list(fitting(wanted, lambda row: [row["prompt"], row["completion"] * 2], ROOM // 2))


def sign_of(row: Row) -> str:
    """Where a completion stands in its group."""
    advantage = row.get("advantage")
    if not advantage:
        return "no advantage"
    return "better than its group" if advantage > 0 else "worse than its group"


def coloured(row: Row) -> list[tuple[str, str, float]]:
    """A completion in parts of equal advantage: (text, shade `p3` to `n3` or empty, advantage); empty without any.

    Shades are relative to the largest advantage in the completion.
    """
    marks = row.get("token_advantages") or []
    most = max((abs(value) for _, _, value in marks), default=0.0)
    if not most:
        return []
    text, parts, reached = clean(row["completion"])[:LONGEST], [], 0
    for start, end, value in marks:
        start, end = max(start, reached), min(end, len(text))
        if start >= end:
            continue
        if start > reached:
            parts.append((text[reached:start], "", 0.0))
        reached = end
        depth = math.ceil(abs(value) / most * SHADES)
        shade = f"{'p' if value > 0 else 'n'}{depth}" if depth else ""
        if parts and parts[-1][2] == value and parts[-1][1] == shade:
            parts[-1] = (parts[-1][0] + text[start:end], shade, value)
        else:
            parts.append((text[start:end], shade, value))
    return [*parts, *([(text[reached:], "", 0.0)] if reached < len(text) else [])]


def spread(rows: list[Any], count: int) -> list[Any]:
    """Rows from the beginning to the end, evenly."""
    if len(rows) <= count:
        return rows
    return [rows[i * (len(rows) - 1) // (count - 1)] for i in range(count)]


def fitting(rows: Iterable[Row], texts: Any, room: int) -> Iterator[Row]:
    """Rows from the front until their texts, escaped, fill the room."""
    for row in rows:
        room -= sum(len(html.escape(visible(text))) for text in texts(row)) + 600  # what stands around them
        if room < 0:
            return
        yield row
