"""Reads the shape of an answer: its parts, their labels, brackets, bounds, matrix cells, words and units.

Texts are spelled (`spelling.spell`). Must not know when two shapes are the same, which `answers.py` decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gspo_lite.rewards.grading.spelling import squeezed
from gspo_lite.rewards.grading.units import canonical_unit, is_known_unit

OPEN, CLOSE = "([{", ")]}"
SEPARATOR = re.compile(r",? (?:and|or) |\\cup(?![a-z])|[,;]|\\lor(?![a-z])|\\vee(?![a-z])")
COMMA = re.compile(r"[,;]")
THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?!\d)")
RELATION = re.compile(r"\\le(?![a-z])|\\ge(?![a-z])|<|>")
VARIABLE = r"(?!\\pi|\\infty)(?:[a-zA-Z]|\\[a-z]+)(?:_\{?\w+\}?)?"
NAME = rf"{VARIABLE}(?:'|\^\{{?-1\}}?)? ?(?:\([^()=]{{1,9}}\))?"  # x, x_1, f', f(x)
LABEL = re.compile(rf"({NAME}|[a-zA-Z]{{2,12}}(?: [a-z]{{1,12}})?|\\angle ?[A-Z]{{1,3}}) ?(?:=|\\in(?![a-z])) ?")
MATRIX = re.compile(r"\\begin\{([pbB]?matrix|array)\}(?:\{[lcr| ]*\})?(.*)\\end\{\1\}")
BUILDER = re.compile(rf"\\\{{ ?{VARIABLE}(?: ?\\in ?\\mathbb\{{R\}})? ?(?:\||\\mid(?![a-z])|:) ?(.*)\\\}}")
TRAILING_UNIT = re.compile(
    r"(.*(?: (?=[a-zA-Z])|(?<=[\d})])(?=[a-zA-Z]{2})))"
    r"((?:square |cubic )?[a-zA-Z]+(?:/[a-zA-Z]+)?(?: ?\^ ?\{?[23]\}?)?)"
)
TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)")
REALS = ("\\mathbb{R}", "all real numbers", "all reals", "(-\\infty,\\infty)")
ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-z]+\}")
WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}")
VOWEL = re.compile(r"[aeiou]", re.IGNORECASE)


def parts_of(text: str) -> list[str]:
    """Return the solutions an answer lists, with plus-minus written out."""
    if squeezed(text) in map(squeezed, REALS):
        return ["(-\\infty,\\infty)"]
    parts = split(text, SEPARATOR)
    label = LABEL.match(parts[0])
    if label and len(parts) > 1 and not any("=" in part for part in parts[1:]):
        parts[0] = parts[0][label.end() :]  # x = 1, 2
    return [sign for part in parts for sign in both_signs(part)]


def both_signs(part: str) -> list[str]:
    """Return a part with plus-minus as two parts, any other as one."""
    if "\\pm" not in part and "\\mp" not in part:
        return [part]
    upper = part.replace("\\pm", "+").replace("\\mp", "-")
    lower = part.replace("\\pm", "-").replace("\\mp", "+")
    return [re.sub(r"^\+ ?|(?<=[=(]) ?\+ ?", "", upper), lower]


def split(text: str, separator: re.Pattern[str], *, thousands: bool = True) -> list[str]:
    """Split at the separators that are outside all brackets and not thousands commas."""
    inside = {at for match in THOUSANDS.finditer(text) for at in range(*match.span())} if thousands else ()
    parts, start, position, depth = [], 0, 0, 0
    while position < len(text):
        character = text[position]
        found = separator.match(text, position) if depth == 0 and position not in inside else None
        if found:
            parts.append(text[start:position].strip())
            position = start = found.end()
            continue
        depth += (character in OPEN) - (character in CLOSE)
        depth += text.startswith("\\begin", position) - text.startswith("\\end", position)
        position += 1
    parts.append(text[start:].strip())
    return [part for part in parts if part] or [""]


def labels(parts: Sequence[str]) -> set[str]:
    """Return the variables that parts are assigned to."""
    return {squeezed(match[1]) for match in map(LABEL.match, parts) if match}


def without_label(text: str) -> str:
    """Return a text without the variable it is assigned to."""
    label = LABEL.match(text)
    return text[label.end() :] if label else text


@dataclass(frozen=True)
class Bracketed:
    """A tuple, a set or an interval: its brackets and what they hold."""

    brackets: str
    parts: list[str]

    @classmethod
    def read(cls, text: str) -> Bracketed | None:
        """Read a text that is in brackets as a whole, apart from its label; None for any other text."""
        inner = without_label(text).replace("\\{", "{").replace("\\}", "}").strip()
        if len(inner) < 3 or inner[0] not in OPEN or inner[-1] not in CLOSE:
            return None
        depth = 0
        for index, character in enumerate(inner):
            depth += (character in OPEN) - (character in CLOSE)
            if depth == 0 and index < len(inner) - 1:
                return None
        return cls(inner[0] + inner[-1], split(inner[1:-1], COMMA, thousands=False))


@dataclass(frozen=True)
class Region:
    """The numbers between two bounds, from an interval or an inequality."""

    lower: str
    upper: str
    brackets: str
    variable: str | None


def region_of(text: str) -> Region | None:
    """Return the region of an interval or of an inequality in one variable; None for other texts."""
    built = BUILDER.fullmatch(text)
    text = built[1] if built else text
    member = re.match(rf"({VARIABLE}) ?\\in(?![a-z])", text)
    bracketed = Bracketed.read(text)
    if bracketed is not None and len(bracketed.parts) == 2 and "{" not in bracketed.brackets:
        variable = squeezed(member[1]) if member else None
        return Region(bracketed.parts[0], bracketed.parts[1], bracketed.brackets, variable)
    signs, sides = RELATION.findall(text), [side.strip() for side in RELATION.split(text)]
    if signs and all(sign in (">", "\\ge") for sign in signs):  # read from the smaller side
        sides, signs = sides[::-1], [{">": "<", "\\ge": "\\le"}[sign] for sign in signs[::-1]]
    if any(sign in (">", "\\ge") for sign in signs):
        return None
    closed = [sign == "\\le" for sign in signs]
    if len(sides) == 3 and re.fullmatch(VARIABLE, sides[1]):
        return bounds(sides[0], sides[2], closed, sides[1])
    if len(sides) == 2 and re.fullmatch(VARIABLE, sides[0]):
        return bounds("-\\infty", sides[1], [False, *closed], sides[0])
    if len(sides) == 2 and re.fullmatch(VARIABLE, sides[1]):
        return bounds(sides[0], "\\infty", [*closed, False], sides[1])
    return None


def bounds(lower: str, upper: str, closed: list[bool], variable: str) -> Region:
    """Return a region with the brackets that say whether its ends belong to it."""
    return Region(lower, upper, "(["[closed[0]] + ")]"[closed[1]], squeezed(variable))


def rows_of(text: str) -> list[list[str]] | None:
    """Return the cells of a matrix by rows, without its label; None if the text is not a matrix."""
    match = MATRIX.fullmatch(without_label(text).strip("()[] "))
    if match is None:
        return None
    rows = [row for row in match[2].split("\\\\") if row.strip()]
    return [[cell.strip() for cell in row.split("&")] for row in rows]


def without_unit(text: str) -> tuple[str, str]:
    """Return a formula and the unit of measurement written after it, which may be empty."""
    match = TRAILING_UNIT.fullmatch(text)
    if match and is_known_unit(match[2]):
        letters = re.search(r"(?<![\\a-zA-Z])[a-zA-Z]", match[1])
        if len(match[2]) > 1 or not letters:  # the h of \pi r^2 h is not an hour
            return match[1].strip(), canonical_unit(match[2])
    return (text[:-1], "degree") if text.endswith("°") and not TRIGONOMETRIC.search(text) else (text, "")


def is_text(text: str) -> bool:
    """Return whether an answer consists of words and is not a formula."""
    return not re.search(r"[\d\\=<>^_+*/|]", text) and has_words(text)


def has_words(text: str) -> bool:
    """Return whether a text has natural-language words, which no formula has."""
    return any(VOWEL.search(word) for word in WORD.findall(ENVIRONMENT.sub("", text)))


def folded(text: str) -> list[str]:
    """Return the words of a text in lower case, without articles."""
    return [word for word in re.findall(r"\w+", text.casefold()) if word not in ("a", "an", "the")]
