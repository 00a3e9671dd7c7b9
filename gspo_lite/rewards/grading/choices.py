"""Reads the letter of a choice, alone or before the choice's text: `C`, `(C) 40`, `Option C`, `C: Rome`."""

from __future__ import annotations

import re
from typing import NamedTuple

LETTERED = re.compile(
    r"((?i:the )?(?i:(?:final|correct|right|best) )?(?i:answer|option|choice|statement|letter)(?i: is)?:? ?)?"
    r"(?:\(([A-Ja-h])\)(?: ?[.:] ?| - | |$)"
    r"|([A-J])(?:[.:)] ?| - |(?i: is (?:the )?(?:correct|right|answer|best)(?: answer| option| choice)?)?$))(.*)"
)
OPTION = r"(?:option |choice )?\(?[A-J]"
# What follows a letter, if it names another one or takes the first back
ANOTHER = re.compile(
    r"^is (?!the |correct|right)"
    rf"|^(?:or|and|nor|not|,|/|&) ?{OPTION}(?![a-z])|\b(?:or|nor|not)\b {OPTION}(?:[).:]|\W*$)"
    r"|[,;.] ?\(?[A-J](?:[).:]|\W*$)| \(?[A-J]\) |\([A-J]\)",
    re.IGNORECASE,
)


class Choice(NamedTuple):
    """A choice's letter as a capital and its text, which may be empty."""

    letter: str
    text: str


def choice_of(text: str) -> Choice | None:
    """Return the one choice that a text names by its letter; None for other texts."""
    match = LETTERED.fullmatch(text)
    if match is None or ANOTHER.search(match[4]):
        return None
    return Choice((match[2] or match[3]).upper(), match[4].strip())
