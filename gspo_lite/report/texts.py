"""Texts of a model for a page: stripped, shortened, paired and colored by token.

Every text here is hostile until the template has escaped it. Owns how much of it is shown.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gspo_lite.completion.text import chat_text, chat_turns
from gspo_lite.report.episodes import episode_texts
from gspo_lite.report.facts import PHASES, RunFacts
from gspo_lite.report.visible import LONGEST, SHORT, clean, shade_of, visible

ROOM = 700_000  # characters of escaped text for the problems of a page; half as many for training completions

Row = dict[str, Any]


def turns(row: Row, shared: str | None) -> list[tuple[str, str]]:
    """Return role and text of each message of a row's prompt, without the system message that all rows share."""
    found = chat_turns(row["prompt"])
    return found[1:] if shared is not None else found


def shared_system(rows: Sequence[Row]) -> str | None:
    """Return the system message with which the prompt of every row begins; None where they differ or have none."""
    first = {tuple(chat_turns(row["prompt"])[:1]) for row in rows}
    begin = next(iter(first), ())
    return begin[0][1] if len(first) == 1 and begin and begin[0][0] == "system" else None


def problems(runs: Sequence[RunFacts]) -> list[Row]:
    """Return as many held-out problems as fit on a page, with completions before and after, or after for each run.

    Each row has prompt, answer, `sides` (label, completion, correct, rewards) and `kind`, such as `became right`.
    Problems whose sides differ come first.
    """
    sides = [side for run in runs for side in columns(run, PHASES if len(runs) == 1 else PHASES[1:])]
    if not sides:
        return []
    found = []
    for index, first in sides[0][1].items():
        rows = [{"label": name, **there[index]} for name, there in sides if same_prompt(there.get(index), first)]
        found.append({**first, "sides": rows, "kind": kind_of([row["correct"] is True for row in rows])})
    found.sort(key=lambda row: row["kind"].startswith("always"))

    def texts_of(row: Row) -> list[str]:
        written = [text for side in row["sides"] for text in (side["completion"], *episode_texts(side))]
        return [chat_text(row["prompt"]), *written]

    return list(fitting(found, texts_of, ROOM))


def columns(run: RunFacts, phases: Iterable[str]) -> list[tuple[str, dict[int, Row]]]:
    """Return label and held-out completions by index for each recorded phase."""
    found = []
    for phase in phases:
        rows = {row["index"]: row for row in run.samples if row["phase"] == phase}
        if rows:
            found.append((phase if len(tuple(phases)) > 1 else run.name, rows))
    return found


def same_prompt(row: Row | None, first: Row) -> bool:
    """Return whether a row exists and has the prompt of the first one."""
    return row is not None and row["prompt"] == first["prompt"]


def kind_of(right: list[bool]) -> str:
    """Return how the sides of a problem compare."""
    if len(set(right)) == 1:
        return "always right" if right[0] else "always wrong"
    if len(right) == 2:
        return "became right" if right[1] else "became wrong"
    return "runs differ"


def sampled(runs: Sequence[RunFacts]) -> list[Row]:
    """Return training completions evenly spread over the rollouts, as many as fit."""
    rows = spread([(run.name, row) for run in runs for row in run.rollouts], 60)
    found = [
        {**row, "run": name, "kind": sign_of(row), "parts": colored(row), "logged": logged(row)} for name, row in rows
    ]

    def texts_of(row: Row) -> list[str]:
        return [chat_text(row["prompt"]), row["completion"] * 2, *episode_texts(row), *row["logged"]]

    return list(fitting(found, texts_of, ROOM // 2))


def logged(row: Row) -> list[str]:
    """Return one short line for each value that a reward logged about a completion."""
    about = ((name, column, value) for name, one in row.get("extra", {}).items() for column, value in one.items())
    return [f"{name}, {column}: {str(value)[:SHORT]}" for name, column, value in about]


def sign_of(row: Row) -> str:
    """Return how a completion compares with its group."""
    advantage = row.get("advantage")
    if not advantage:
        return "no advantage"
    return "better than its group" if advantage > 0 else "worse than its group"


def colored(row: Row) -> list[tuple[str, str, float]]:
    """Split a completion into parts of equal advantage: (text, shade `p3` to `n3` or empty, advantage).

    Shades are relative to the largest advantage in the completion; without advantages there are no parts.
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
        shade = shade_of(value, most)
        if parts and parts[-1][2] == value and parts[-1][1] == shade:
            parts[-1] = (parts[-1][0] + text[start:end], shade, value)
        else:
            parts.append((text[start:end], shade, value))
    return [*parts, *([(text[reached:], "", 0.0)] if reached < len(text) else [])]


def spread(rows: list[Any], count: int) -> list[Any]:
    """Return up to `count` rows, evenly spread from the first to the last."""
    if len(rows) <= count:
        return rows
    return [rows[i * (len(rows) - 1) // (count - 1)] for i in range(count)]


def fitting(rows: Iterable[Row], texts: Any, room: int) -> Iterator[Row]:
    """Yield rows until their escaped texts fill the room."""
    for row in rows:
        room -= sum(len(html.escape(visible(text))) for text in texts(row)) + 600  # for the markup around them
        if room < 0:
            return
        yield row
