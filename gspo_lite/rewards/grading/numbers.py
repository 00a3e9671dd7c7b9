"""Reads plain answers exactly: integers, decimals, fractions, percentages, thousands, currencies, trailing units.

    "$1,200.50" -> 2401/2, "dollar"      "3/4 cups" -> 3/4, "cup"      "0.1(6)" -> 1/6      "7 or 8" -> None

A value is a `Fraction`, so equality is exact. Text that is not plain gives None and is left to `answers.py`. The work
on any text is bounded; nothing is evaluated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from gspo_lite.rewards.grading.units import canonical_unit, is_known_unit, units_agree

MAX_LENGTH = 1000  # characters of a plain answer
MAX_EXPONENT = 400

SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
CURRENCY = re.compile(r"(?:US ?\$|USD|EUR|GBP|[$€£¥₹])\s*")
NUMBER = r"\d{1,3}(?:[,'] ?\d{3})+(?!\d)(?:\.\d+)?|\d{1,3}(?: \d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+"
REPEATING = re.compile(
    r"(\d*)\.(\d*?)(?:\\(?:overline|bar|dot)\s*\{(\d+)\}|\\(?:bar|dot)\s*(\d)|\((\d+)\)|(\d+?)\6+\s*(?:\.\.\.|\\[lc]?dots))"
)
FRACTION = re.compile(
    rf"(?:(\d+) ?(?:and )?)?\\frac\{{({NUMBER})\}}\{{({NUMBER})\}}|(?:(\d+) (?:and )?)?({NUMBER}) ?/ ?({NUMBER})"
)
SIGNED_FRACTION = re.compile(rf"\\frac\{{- ?({NUMBER})\}}\{{({NUMBER})\}}")
POWER = r"10 ?\^ ?(?:\{ ?([-+]?\d+) ?\}|([-+]?\d+))"
SCIENTIFIC = re.compile(rf"(?:({NUMBER}) ?(?:\\times|\\cdot|\*|x) ?)?{POWER}|({NUMBER})[eE]([-+]?\d+)")
DECIMAL = re.compile(NUMBER)
TRAILING = re.compile(
    r"( ?(?:%|percent\b|per cent\b|pct\b)| ?°)?(?:( ?)([A-Za-z]+(?:[ /][A-Za-z]+){0,4}\.?(?: ?\^ ?\{?[23]\}?)?))?"
)
# Words that change what the number before them means.
FUNCTION_WORDS = set(
    """
    or to and not maybe perhaps but is are was isn't than about approximately roughly nearly almost wrong incorrect
    false no cannot probably possibly presumably likely think guess if when at least most over under squared cubed
    factorial choose mod plus minus divided by point half halves thirds base i e x y z n
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Plain:
    """A plain answer: its value, its unit if written, and whether it is a percentage."""

    value: Fraction
    unit: str = ""
    percent: bool = False


def read_plain(text: str) -> Plain | None:
    """Return a spelled text as a plain answer; None unless the whole text is one."""
    if len(text) > MAX_LENGTH:
        return None
    negative, currency, text = without_prefix(text)
    read = read_value(text)
    if read is None:
        return None
    value, end = read
    tail = TRAILING.fullmatch(text[end:].rstrip())
    if tail is None:
        return None
    mark, gap, unit = (tail[1] or "").strip(), tail[2] or "", (tail[3] or "").strip()
    scale, _, rest = unit.lower().partition(" ")
    if scale in SCALES:
        value, unit = value * 10 ** SCALES[scale], rest
    if FUNCTION_WORDS & set(unit.lower().split()):
        return None
    if unit and (len(unit) == 1 or not gap) and not mark and not is_known_unit(unit) and scale not in SCALES:
        return None  # `7x` is a product, `7 m` a length
    if mark == "°":
        unit = f"degree {unit}".strip()
    if currency and unit and canonical_unit(unit) != canonical_unit(currency):
        return None
    percent = mark not in ("", "°")
    return Plain(-value if negative else value, canonical_unit(unit or currency), percent)


def without_prefix(text: str) -> tuple[bool, str, str]:
    """Return whether the number is negative, its currency sign, and the rest."""
    sign = re.match(r"[-+]?\s*", text)
    rest = text[sign.end() :] if sign else text
    money = CURRENCY.match(rest)
    if not money:
        return text.startswith("-"), "", rest
    rest = rest[money.end() :]
    negative = text.startswith("-") != rest.startswith("-")
    return negative, money[0].strip(), rest.lstrip("-+ ")


def read_value(text: str) -> tuple[Fraction, int] | None:
    """Return the value of the number a text begins with, and where it ends; None if there is none."""
    for pattern, value_of in FORMS:
        match = pattern.match(text)
        if match:
            value = value_of(match)
            return None if value is None else (value, match.end())
    return None


def repeating_value(match: re.Match[str]) -> Fraction:
    """Return the value of a repeating decimal: 0.1(6) = 1/10 + 6/90."""
    whole, fixed, block = match[1] or "0", match[2], match[3] or match[4] or match[5] or match[6]
    shift = 10 ** len(fixed)
    return int(whole) + Fraction(int(fixed or "0"), shift) + Fraction(int(block), shift * (10 ** len(block) - 1))


def fraction_value(match: re.Match[str]) -> Fraction | None:
    """Return the value of `a/b` or a LaTeX fraction, either with a whole number before it."""
    whole, top, bottom = match[1] or match[4], match[2] or match[5], match[3] or match[6]
    divisor = plain_decimal(bottom)
    return None if divisor == 0 else plain_decimal(whole or "0") + plain_decimal(top) / divisor


def signed_fraction_value(match: re.Match[str]) -> Fraction | None:
    divisor = plain_decimal(match[2])
    return None if divisor == 0 else -plain_decimal(match[1]) / divisor


def scientific_value(match: re.Match[str]) -> Fraction | None:
    """Return the value of scientific notation; None if no answer has such an exponent."""
    exponent = match[2] or match[3] or match[5]
    if len(exponent) > 4 or abs(int(exponent)) > MAX_EXPONENT:
        return None
    return plain_decimal(match[1] or match[4] or "1") * Fraction(10) ** int(exponent)


def plain_decimal(digits: str) -> Fraction:
    """Return the value of digits with optional thousands separators and decimal point."""
    return Fraction(re.sub(r"[, ']", "", digits).rstrip(".") or "0")


FORMS = (
    (REPEATING, repeating_value),
    (FRACTION, fraction_value),
    (SIGNED_FRACTION, signed_fraction_value),
    (SCIENTIFIC, scientific_value),
    (DECIMAL, lambda match: plain_decimal(match[0])),
)


def same(answer: Plain, gold: Plain) -> bool:
    """Return whether two plain answers are exactly equal; a unit may be left out, and 28% equals 0.28 or a bare 28."""
    if not units_agree(answer.unit, gold.unit):
        return False
    if answer.percent == gold.percent:
        return answer.value == gold.value
    in_percent, bare = (answer, gold) if answer.percent else (gold, answer)
    return bare.value in (in_percent.value, in_percent.value / 100)
