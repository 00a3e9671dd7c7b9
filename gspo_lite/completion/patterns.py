"""Searches completions with regular expressions from a recipe, within a time limit.

A completion is untrusted, and a pattern such as `(a+)+b` can take forever on a text made for it. Python's own `re`
cannot be stopped; the `regex` package can.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from gspo_lite.completion.thinking import CharSpan

SECONDS = 0.25  # for one text; a usual pattern takes less than a thousandth of it
logger = logging.getLogger(__name__)


@lru_cache
def compiled(pattern: str) -> Any:
    """Return a compiled pattern; raise ValueError if it is not a regular expression."""
    import regex  # takes 40 ms, which only a recipe with a pattern should pay

    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error


@lru_cache
def warn_once(pattern: str) -> None:
    """Warn, the first time only, that a pattern takes too long."""
    logger.warning(
        "the pattern `%s` needs more than %g s on a completion, which counts as no match; avoid nested repetition",
        pattern, SECONDS,
    )  # fmt: skip


def matches(pattern: str, text: str, group: int = 0) -> list[CharSpan]:
    """Return the span of a group in each match, of the whole match where the group is not part of it.

    A search that exceeds its time limit finds nothing, and is warned of.
    """
    try:
        found = list(compiled(pattern).finditer(text, timeout=SECONDS))
    except TimeoutError:
        warn_once(pattern)
        return []
    return [match.span(group) if match.span(group) != (-1, -1) else match.span() for match in found]


def groups(pattern: str) -> int:
    """Return the number of groups of a pattern."""
    return int(compiled(pattern).groups)
