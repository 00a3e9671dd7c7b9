"""Reads the shape of an answer: its parts, their labels, brackets, bounds, matrix cells, words and units.

Texts are spelled (`spelling.spell`). Must not know when two shapes are the same, which `answers.py` decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gspo_lite.rewards.grading.spelling import squeezed
from gspo_lite.rewards.grading.units import is_known_unit, read_unit

OPEN, CLOSE = "([{", ")]}"
SEPARATOR = re.compile(r",? (?:and|or) |\\cup(?![a-z])|[,;]|\\lor(?![a-z])|\\vee(?![a-z])")
COMMA = re.compile(r"[,;]")
THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?!\d)")
RELATION = re.compile(r"\\le(?![a-z])|\\ge(?![a-z])|<|>")
VARIABLE = r"(?!\\pi|\\infty)(?:[a-zA-Z]|\\[a-z]+)(?:_\{?\w+\}?)?"
NAME = rf"{VARIABLE}(?:'|\^\{{?-1\}}?)? ?(?:\([^()=]{{1,9}}\))?"  # x, x_1, f', f(x)
ARROW = r"\\(?:vec|hat|bar|overline|overrightarrow)\{ ?\w{1,3} ?\}"
LABEL = re.compile(
    rf"({ARROW}|{NAME}|(?!(?:almost|nearly|twice|half|double|not) )[a-zA-Z]{{2,12}}(?: [a-z]{{1,12}})?"
    rf"|(?:m ?)?\\angle ?[A-Z]{{1,3}}|\|[a-zA-Z]{{1,2}}\||[a-zA-Z](?: ?: ?[a-zA-Z]){{1,3}}) ?(?:=|\\in(?![a-z])) ?"
)
# What only an answer may name before its value: in a gold these are equations
EXPRESSION = re.compile(
    r"(?:[a-zA-Z](?: ?[+-] ?[a-zA-Z]){1,3}|P ?\([^()=]{1,12}(?:=[^()=]{1,12})?\)|\\Pr(?: ?\([^()]{1,20}\))?"
    r"|(?:E|Var|\\mathbb\{E\}) ?\[[^\[\]=]{1,12}\]|\\det ?\w|\\frac\{[a-z]\}\{[a-z]\}"
    r"|\\frac\{d ?\w\}\{d ?\w\}) ?= ?"
)
ALIKE = re.compile(rf"^({VARIABLE}) ?= ?({VARIABLE}) ?= ?([^=,;]+)$")  # x = y = 2
TUPLE_LABEL = re.compile(rf"\(({VARIABLE}(?: ?, ?{VARIABLE}){{1,5}})\) ?= ?(?=\()")
ATTACHED = re.compile(r"(.*[\d})])([a-zA-Z]{2}[a-zA-Z/^{}\d]*)")
MOST_UNIT_WORDS = 5
TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)")
LETTER = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]|\\(?!(?:pi|sqrt|frac|cdot|times|infty)(?![a-z]))[a-zA-Z]+")
ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-z]+\}")
WORD = re.compile(r"(?<![\\a-zA-Z])(?:[a-zA-Z]{3,}|[nN]o(?![a-zA-Z]))")
VOWEL = re.compile(r"[aeiou]", re.IGNORECASE)


def parts_of(text: str) -> list[str]:
    """Return the solutions an answer lists, with plus-minus written out."""
    parts = split(ALIKE.sub(r"\1 = \3, \2 = \3", text), SEPARATOR)
    label = LABEL.match(parts[0])
    if label and len(parts) > 1 and not any("=" in part for part in parts[1:]):
        parts[0] = parts[0][label.end() :]  # x = 1, 2
    return signed(parts)


def signed(parts: Sequence[str]) -> list[str]:
    """Return parts with plus-minus written out."""
    return [sign for part in parts for sign in both_signs(part)]


def both_signs(part: str) -> list[str]:
    """Return a part with plus-minus as two parts, any other as one."""
    bracketed = Bracketed.read(part)
    if ("\\pm" not in part and "\\mp" not in part) or (bracketed and bracketed.brackets == "{}"):
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
    """Return a text without the variable, or the tuple of variables, that it is assigned to."""
    label = LABEL.match(text) or TUPLE_LABEL.match(text)
    return text[label.end() :] if label else text


def assignments(parts: Sequence[str]) -> dict[str, str]:
    """Return the value of each variable: `(p, q) = (3, 2)` and `p = 3, q = 2` are the same; empty if there are none."""
    label = TUPLE_LABEL.match(parts[0]) if len(parts) == 1 else None
    if label:
        names, values = split(label[1], COMMA), Bracketed.read(parts[0][label.end() :])
        return (
            dict(zip(map(squeezed, names), values.parts, strict=True))
            if values and len(values.parts) == len(names)
            else {}
        )
    found = [LABEL.match(part) for part in parts]
    if len(parts) < 2 or not all(found):
        return {}
    values_by_name = {
        squeezed(match[1]): part[match.end() :] for match, part in zip(found, parts, strict=True) if match
    }
    return values_by_name if len(values_by_name) == len(parts) else {}


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


def without_unit(text: str) -> tuple[str, str]:
    """Return a formula and the unit of measurement or currency written beside it, which may be empty."""
    if text.endswith("°") and not TRIGONOMETRIC.search(text):
        return text[:-1], "degree"
    if text[:1] in tuple("$€£¥₹"):
        return text[1:].strip(), read_unit(text[0]) or ""
    words = text.split(" ")
    candidates = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))][-MOST_UNIT_WORDS:]
    attached = ATTACHED.fullmatch(text)
    for formula, unit in candidates + ([attached.groups()] if attached else []):
        # the h of \pi r^2 h is not an hour, and ^{2} belongs to what stands before it
        certain = re.search("[a-zA-Z]{2}", unit) or not LETTER.search(formula)
        if certain and is_known_unit(unit) and unit[0] not in "^{(*/" and unit.count("{") == unit.count("}"):
            return formula, read_unit(unit) or ""
    return text, ""


def is_text(text: str) -> bool:
    """Return whether an answer consists of words and is not a formula."""
    return not re.search(r"[\d\\=<>^_+*/|]", text) and has_words(text)


def has_words(text: str) -> bool:
    """Return whether a text has natural-language words, which no formula has."""
    return any(VOWEL.search(word) for word in WORD.findall(ENVIRONMENT.sub("", text)))


def folded(text: str) -> list[str]:
    """Return the words of a text in lower case, without articles."""
    return [word for word in re.findall(r"\w+", text.casefold()) if word not in ("a", "an", "the")]
