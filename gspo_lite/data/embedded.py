"""Refuses splits and difficulties that an embedded task does not have."""

from __future__ import annotations

from collections.abc import Iterable

from gspo_lite.errors import UsageError


def refuse_unknown(task: str, split: str, splits: Iterable[str], difficulty: str, difficulties: Iterable[str]) -> None:
    """Raise UsageError if a task has no such split or difficulty (`data.subset`)."""
    for kind, value, known, hint in (
        ("split", split, splits, "set data.split"), ("difficulty", difficulty, difficulties, "set data.subset"),
    ):  # fmt: skip
        if value not in known:
            allowed = ", ".join(f"`{one}`" for one in known)
            raise UsageError(f"`{task}` has no {kind} `{value}`; allowed: {allowed}", hint)
