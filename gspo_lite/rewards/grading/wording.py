"""The words around an answer: what introduces it, says that it is rounded, or hedges."""

from __future__ import annotations

import re

from gspo_lite.rewards.grading import shapes
from gspo_lite.rewards.grading.numbers import read_plain

WRONG = r"(?:\w+ )*?(?:wrong|incorrect|false|other|opposite|not) "
OPENINGS = [
    rf"(?!answer|{WRONG})(?-i:[A-Z])[a-z]{{2,}}(?: [a-z]+){{0,4}}: ?",  # Number of students: 18
    r"(?:(?:so|thus|hence|therefore|then|ans|total)[,:]? (?![_^]))?(?:{})?:?\s*(?:therefore )?(?:exactly )?",
]
CLAUSES = [
    r"(?:the |my )?(?:final |correct )?(?:answer|result|solution|value)s?(?: is| are|:| =| equals)+",
    rf"(?:the|its|his|her|their|our) (?!{WRONG})(?:[a-zA-Z]+ ){{1,6}}?(?:is|are|was|were|equals?|simplifies to)"
    r"(?: at)?",
    r"(?:it|[k-z]) (?:is|equals)(?: equal to)?",
    r"we (?:get|have|obtain|find)(?: that)?",
    r"it's|there are|there is|(?:on|at)(?= )|ans\.|=",
]
PREFIX = re.compile(f"{OPENINGS[0]}|{OPENINGS[1].replace('{}', '|'.join(CLAUSES))}", re.IGNORECASE)
SUFFIX = re.compile(r" is (?:the|my) (?:final |correct )?answer$", re.IGNORECASE)
ROUGH = re.compile(
    r"≈|\\approx|\\sim(?:eq)?(?![a-z])|\b(?:about|approximately|approx\.?|roughly|around)\b", re.IGNORECASE
)
UNSURE = re.compile(
    r"\?|\b(?:(?:more|less|fewer|greater) than|wait|actually|maybe|perhaps|possibly|not|either)\b", re.IGNORECASE
)


def is_rough(text: str) -> bool:
    """Return whether an answer is said to be rounded."""
    return ROUGH.search(text) is not None


def is_unsure(text: str) -> bool:
    """Return whether an answer is hedged or denied."""
    return UNSURE.search(text) is not None


def before_rounding(text: str) -> str:
    """Return the exact value of an answer that also gives it rounded, x = 1/3 \\approx 0.33; else the answer."""
    exact, sign, rounded = text.partition("\\approx")
    exact = exact.strip()
    value = shapes.without_label(exact)
    return (
        exact if sign and read_plain(rounded.strip()) and re.search(r"\d|\\pi", value) and value[-1:] != "=" else text
    )


def exactly(text: str) -> str:
    """Return an approximate answer as if it were exact: x \\approx 9 becomes x = 9."""
    return without_prefix(re.sub(r"[= ]+= *", " = ", ROUGH.sub(" = ", text)).strip())


def without_prefix(text: str) -> str:
    """Return a text without the words that introduce an answer, or say after it that it is one."""
    text = SUFFIX.sub("", text)
    prefix = PREFIX.match(text)
    return text[prefix.end() :] if prefix else text
