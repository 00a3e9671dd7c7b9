"""Reads plain answers exactly: integers, decimals, fractions, percentages, thousands, currencies, trailing units.

    "$1,200.50" -> 2401/2, "dollar"      "3/4 cups" -> 3/4, "cup"      "0.1(6)" -> 1/6      "7 or 8" -> None

A value is a `Fraction`, so equality is exact. Text that is not plain gives None and is left to `answers.py`. The work
on any text is bounded; nothing is evaluated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from gspo_lite.rewards.grading.units import is_known_unit, read_unit, units_agree

MAX_LENGTH = 1000  # characters of a plain answer
MAX_EXPONENT = 400

SCALES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
CURRENCY = re.compile(r"(?:US ?\$|USD|EUR|GBP|Rs\.?|[$€£¥₹₩])\s*")
NUMBER = (
    r"\d{1,2}(?:,\d\d)+,\d{3}(?![\d,])(?:\.\d+)?"  # as in India
    r"|\d{1,3}(?:[,'] ?\d{3})+(?!\d)(?:\.\d+)?|\d{1,3}(?: \d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+"
)
CENTS = {"dollar": ("cent",), "sterling": ("penny",)}
HALF_OF_DAY = re.compile(r"[ap]\.? ?m\.?", re.IGNORECASE)  # 10 pm is a time
PER = re.compile(r"/|(?:per|an?|each)(?![a-z])")
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
TAIL = re.compile(
    r"((?:st|nd|rd|th)(?![a-z]))?( ?(?:%|percent\b|per cent\b|pct\b))?"
    r"( ?)((?:[A-Za-z$€£¥₹₩円元¢°Ωµμ]|/ ?[a-z]{2}|\\(?:Omega|ohm|mu)(?![a-z])|\\frac\{ ?[a-zA-Z]).*)?"
)


@dataclass(frozen=True)
class Plain:
    """A plain answer: its value, its unit if written, and whether it is a percentage or a place in an order."""

    value: Fraction
    unit: str = ""
    percent: bool = False
    ordinal: bool = False


def read_plain(text: str) -> Plain | None:
    """Return a spelled text as a plain answer; None unless the whole text is one."""
    if len(text) > MAX_LENGTH:
        return None
    negative, currency, text = without_prefix(text)
    read = read_value(text)
    if read is None:
        return None
    value, end = read
    tail = TAIL.fullmatch(text[end:].rstrip())
    if tail is None or HALF_OF_DAY.fullmatch(tail[4] or ""):
        return None
    percent, gap, after = bool(tail[2]), tail[3], tail[4] or ""
    scale, _, rest = after.partition(" ")
    if scale.lower() in SCALES:
        value, gap, after = value * SCALES[scale.lower()], " ", rest
    unit = unit_of(after, currency)
    if unit is None or (after and (len(after) == 1 or not gap) and not percent and not is_known_unit(after)):
        return None  # `7x` is a product, `7 m` a length
    return Plain(-value if negative else value, unit, percent, bool(tail[1]))


def unit_of(after: str, currency: str) -> str | None:
    """Return the unit from what stands behind and before a number; None if they do not go together."""
    unit, money = read_unit(after), read_unit(currency)
    if not currency or unit is None or unit == money:
        return unit
    if not unit:
        return money
    together = read_unit(f"{currency} {after}")
    return together if PER.match(after) or unit.startswith("things ") else None


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
    """Return whether two plain answers are exactly equal; a unit may be left out, and 28% equals 0.28 or a bare 28.

    A gold below 1 is not a number of percent, and neither is one with a unit.
    """
    if answer.ordinal != gold.ordinal:
        return False
    if answer.unit in CENTS.get(gold.unit, ()) or gold.unit in CENTS.get(answer.unit, ()):
        return in_cents(answer) == in_cents(gold)
    if not units_agree(answer.unit, gold.unit):
        return False
    if answer.percent == gold.percent:
        return answer.value == gold.value
    in_percent, bare = (answer, gold) if answer.percent else (gold, answer)
    if bare.unit:
        return False
    return bare.value == in_percent.value / 100 or (
        bare.value == in_percent.value and (gold.percent or gold.value >= 1)
    )


def in_cents(money: Plain) -> Fraction:
    """Return an amount of money in its smaller unit."""
    return money.value * (100 if money.unit in CENTS else 1)
