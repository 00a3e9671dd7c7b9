"""Names units of measurement and currencies uniformly. A unit is only a word here: nothing is converted."""

from __future__ import annotations

import re

# name -> its other spellings; case counts for those of one or two letters
NAMES = {
    "meter": "m meters metre metres", "kilometer": "km kilometers kilometre kilometres kms",
    "centimeter": "cm centimeters centimetre centimetres", "millimeter": "mm millimeters millimetre millimetres",
    "inch": "in inches", "foot": "ft feet", "yard": "yd yards", "mile": "mi miles",
    "gram": "g grams", "kilogram": "kg kilograms kilos kgs", "milligram": "mg milligrams",
    "pound": "lb lbs pounds", "ounce": "oz ounces", "ton": "tons tonne tonnes",
    "second": "s sec secs seconds", "minute": "min mins minutes", "hour": "h hr hrs hours", "day": "days",
    "week": "weeks", "month": "months", "year": "yr yrs years",
    "liter": "L l liters litre litres", "milliliter": "mL ml milliliters millilitres", "gallon": "gal gallons",
    "newton": "N newtons", "joule": "J joules", "watt": "W watts", "volt": "V volts", "hertz": "Hz",
    "degree": "deg degrees", "radian": "rad rads radians", "kelvin": "K kelvins",
    "degree celsius": "°C", "degree fahrenheit": "°F",
    "dollar": "$ US$ USD usd dollars", "euro": "€ EUR eur euros", "gbp": "£ GBP", "yen": "¥ JPY", "rupee": "₹ rupees",
    "cent": "cents ¢", "unit": "units", "mph": "mph", "kmh": "kph kmh",
}  # fmt: skip
PHRASES = {
    "degrees celsius": "degree celsius", "degree c": "degree celsius", "degrees fahrenheit": "degree fahrenheit",
    "degree f": "degree fahrenheit", "miles per hour": "mph", "mile per hour": "mph", "mi/h": "mph",
    "km/h": "kmh", "km per hour": "kmh", "kilometers per hour": "kmh", "us dollars": "dollar",
}  # fmt: skip
CANONICAL = {spelling: name for name, others in NAMES.items() for spelling in [name, *others.split()]}
KNOWN = {*NAMES, *PHRASES.values()}
POWERS = {"square": "^2", "sq": "^2", "cubic": "^3", "cu": "^3"}


def canonical_unit(text: str) -> str:
    """Return one name for a unit: `sq cm`, `cm^{2}` and `square centimeters` are `centimeter^2`; empty stays empty."""
    text = re.sub(r"[{}. ]*([\^/])[{} ]*|[{}.]", r"\1", text).strip()
    text = re.sub(r" per ", "/", text)
    phrase = text.lower().replace("/", " per ") if text.lower() not in PHRASES else text.lower()
    if phrase in PHRASES:
        return PHRASES[phrase]
    first, _, rest = text.partition(" ")
    if first.lower() in POWERS and rest:
        return canonical_unit(rest) + POWERS[first.lower()]
    if "/" in text:
        return "/".join(canonical_unit(part) for part in text.split("/"))
    base, caret, power = text.partition("^")
    return " ".join(canonical_word(word) for word in base.split()) + caret + power


def canonical_word(word: str) -> str:
    """Return one name for a single word, whether it is a known unit or not."""
    known = CANONICAL.get(word) or CANONICAL.get(word.lower() if len(word) > 1 else word)
    return known or (word.lower()[:-1] if len(word) > 3 and word.lower().endswith("s") else word.lower())


def is_known_unit(text: str) -> bool:
    """Return whether a text is a unit of measurement, which may follow a number directly."""
    return bool(text) and all(part.partition("^")[0] in KNOWN for part in canonical_unit(text).split("/"))


def units_agree(first: str, second: str) -> bool:
    """Return whether two canonical units can belong to one answer: one is missing, or both name the same thing."""
    if not first or not second or first == second:
        return True
    return first.split()[-1] == second.split()[-1]  # red apples are apples
