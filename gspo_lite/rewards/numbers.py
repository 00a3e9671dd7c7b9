"""Reads plain answers exactly: integers, decimals, fractions, percent, thousands, currency, a unit behind the number.

    "$1,200.50" -> 2401/2      "3/4 cups" -> 3/4, unit "cups"      "28\\%" -> 28, percent      "7 or 8" -> None

A value is a `Fraction`, so equality is exact. What is not plain is None and left to the grading engine. Bounded work on
any text; nothing is evaluated.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

MAX_LENGTH = 200  # characters of an answer that can be plain
MAX_EXPONENT = 400

CURRENCY = "$€£¥₹"
WORDS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
SPACES = re.compile(r"\\[,;:! ]|[\s\u00a0\u2009\u202f]+")
WRAPPER = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox)\{([^{}]*)\}")
NUMBER = r"\d{1,3}(?:[, ]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
FRACTION = re.compile(rf"(?:(\d+) )?(?:\\[dt]?frac\{{({NUMBER})\}}\{{({NUMBER})\}}|({NUMBER}) ?/ ?({NUMBER}))")
DECIMAL = re.compile(rf"({NUMBER})(?: ?(?:\\times|\\cdot|×|\*|x) ?10 ?\^ ?\{{?([-+]?\d+)\}}?|[eE]([-+]?\d+))?")
TRAILING = re.compile(
    r"[ ]?(%|percent|°|\\circ|\^\\circ|\^\{\\circ\}|degrees?)?[ ]?([A-Za-z]+(?:[ /][A-Za-z]+){0,3}\.?(?:\^?[23²³])?)?"
)
HEDGES = {"or", "to", "and", "not", "maybe", "perhaps"}  # words that make a second answer of what follows


@dataclass(frozen=True)
class Plain:
    """A plain answer: its value, the unit that was written, and whether it was in percent."""

    value: Fraction
    unit: str = ""
    percent: bool = False


def read_plain(text: str) -> Plain | None:
    """The plain answer that a text is, whole; None where it is anything else."""
    if len(text) > MAX_LENGTH:
        return None
    text = tidy(text)
    negative = text.startswith("-")
    text = text.lstrip("+-").lstrip(CURRENCY).strip() if text[:1] in "+-" and text[:2] not in ("--", "+-") else text
    text = text.lstrip(CURRENCY).strip()
    head = FRACTION.match(text)
    value = fraction_value(head) if head else None
    if head is None:
        head = DECIMAL.match(text)
        value = decimal_value(head) if head else None
    if head is None or value is None:
        return None
    tail = TRAILING.fullmatch(text[head.end() :])
    if tail is None:
        return None
    unit = (tail.group(2) or "").strip().rstrip(".").lower()
    if HEDGES & set(unit.split()):
        return None
    word, _, rest = unit.partition(" ")
    if word in WORDS:
        value, unit = value * 10 ** WORDS[word], rest
    percent = (tail.group(1) or "").startswith(("%", "percent"))
    return Plain(-value if negative else value, unit, percent)


def tidy(text: str) -> str:
    """One spelling for what means the same: digits, minus signs, spaces, LaTeX wrappers, a trailing full stop."""
    text = unicodedata.normalize("NFKC", text).replace("⁄", "/")
    text = "".join(str(unicodedata.digit(c)) if c.isdigit() and not c.isascii() else c for c in text)
    for minus in "−–—﹣－":
        text = text.replace(minus, "-")
    text = text.strip().strip("$").strip() if text.strip().endswith("$") else text.strip()
    text = WRAPPER.sub(r" \1 ", text.replace("\\%", "%").replace("\\$", "$").replace("{,}", ","))
    text = SPACES.sub(" ", text).strip()
    if text.startswith("**") and text.endswith("**") and len(text) > 4:
        text = text[2:-2].strip()
    return text[:-1].strip() if text.endswith(".") and not text.endswith("..") else text


def fraction_value(match: re.Match[str]) -> Fraction | None:
    """Value of `a/b`, a LaTeX fraction, or either behind a whole number."""
    whole, top, bottom = match[1], match[2] or match[4], match[3] or match[5]
    divisor = plain_decimal(bottom)
    return None if divisor == 0 else plain_decimal(whole or "0") + plain_decimal(top) / divisor


def decimal_value(match: re.Match[str]) -> Fraction | None:
    """Value of a decimal, in scientific notation or not."""
    exponent = match[2] or match[3] or "0"
    if len(exponent) > 4 or abs(int(exponent)) > MAX_EXPONENT:
        return None
    return plain_decimal(match[1]) * Fraction(10) ** int(exponent)


def plain_decimal(digits: str) -> Fraction:
    """Value of digits with optional thousands separators and decimal point."""
    return Fraction(digits.replace(",", "").replace(" ", ""))


def same(answer: Plain, gold: Plain) -> bool:
    """Whether two plain answers are the same, exactly; a unit may be left out, and 28% is 0.28 or a bare 28."""
    if answer.unit and gold.unit and singular(answer.unit) != singular(gold.unit):
        return False
    if answer.percent == gold.percent:
        return answer.value == gold.value
    in_percent, bare = (answer, gold) if answer.percent else (gold, answer)
    return bare.value in (in_percent.value, in_percent.value / 100)


def singular(unit: str) -> str:
    """A unit without the s of its plural."""
    return unit[:-1] if len(unit) > 3 and unit.endswith("s") else unit
