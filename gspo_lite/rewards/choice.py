"""Grades multiple choice: a completion names one choice by its letter or its text; naming two counts as none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from gspo_lite.completion.markers import Marker
from gspo_lite.completion.text import find_answer
from gspo_lite.completion.thinking import Thinking
from gspo_lite.rewards.contract.registry import reward
from gspo_lite.rewards.grading.choices import choice_of
from gspo_lite.rewards.grading.golds import gold_text
from gspo_lite.rewards.grading.spelling import spell
from gspo_lite.rewards.math import folded

MAX_CHOICE = 2000  # characters; a longer answer does not name a choice
PREFIX = re.compile(r"(?:the )?(?:(?:final|correct|right|best) )?(?:answer|option|choice)(?: is)?:? ?", re.IGNORECASE)
LETTER = re.compile(r"\(?([A-Za-z])(?:\)|\b)[.:)]?(?: +(?:- )?(.*))?")


@reward(judges=True)
def multiple_choice(
    completion: str,
    answer: Any,
    choices: Sequence[str] | None = None,
    *,
    marker: Marker = "tag",
    thinking: Thinking = "think",
) -> float | None:
    """Return 1.0 if the final answer names the choice in the column `answer` and no other, else 0.0.

    `answer` is a letter, the text of a choice, or an index from 0; the column `choices` holds the texts and may be
    missing if the answers are letters. A completion may give the letter, the text, or both if they agree; the letter
    of one choice with the text of another is wrong. `marker` says where the answer is, as for `math_correct`. The
    value is None if the row has no `answer`.

        <answer>B</answer> with answer "B"                                     1.0
        <answer>(b) Rome</answer> with answer 1, choices ["Oslo", "Rome"]      1.0
        <answer>A or B</answer> with answer "B"                                0.0
    """
    texts = [comparable(choice) for choice in choices or ()]
    right = index_of(answer, texts)
    if right is None:
        return None
    given = named(find_answer(completion, marker, thinking) or "", texts)
    return float(given is not None and (given == right or (bool(texts) and texts[given] == texts[right])))


def comparable(choice: Any) -> str:
    """Return a choice's text as `index_of` compares it."""
    return folded(spell(str(choice)))


def index_of(answer: Any, texts: list[str]) -> int | None:
    """Return the index of the right choice in a row of the data; None without an answer, ValueError for another one."""
    if hasattr(answer, "item"):
        answer = answer.item()  # a numpy number
    index = answer
    if isinstance(answer, str):
        index = next((at for at, text in enumerate(texts) if text == comparable(answer)), None)
    if index is None:
        written = gold_text(answer, prose=True)
        if written is None:
            return None
        choice = choice_of(spell(written).upper())
        index = ascii_uppercase.index(choice.letter) if choice else None
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < (len(texts) or len(ascii_uppercase)):
        there = f"one of {len(texts)} choices" if texts else "a letter or an index (a text needs the column `choices`)"
        raise ValueError(f"column `answer` is {answer!r}; expected {there}")
    return index


def named(answer: str, texts: list[str]) -> int | None:
    """Return the index of the choice that an answer names; None if it names none or hedges."""
    if len(answer) > MAX_CHOICE:
        return None
    plain = spell(answer)
    for spoken in (plain, PREFIX.sub("", plain, count=1) if PREFIX.match(plain) else plain):
        text = folded(spoken).rstrip(".")
        found = [index for index, choice in enumerate(texts) if text == choice.rstrip(".")]
        if found:
            return found[0]
        letter = LETTER.fullmatch(spoken)
        if letter and agrees(letter, texts):
            return ascii_uppercase.index(letter[1].upper())
    return None


def agrees(letter: re.Match[str], texts: list[str]) -> bool:
    """Return whether a letter is one of the choices and is followed by nothing but that choice's text, if known."""
    index, rest = ascii_uppercase.index(letter[1].upper()), folded(letter[2] or "").rstrip(".")
    if not texts:
        return not rest or choice_of(letter[0]) is not None
    return index < len(texts) and rest in ("", texts[index].rstrip("."))
