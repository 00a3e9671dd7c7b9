"""Names units of measurement, currencies and counted things uniformly. Nothing is converted here.

"sq cm", "cm^{2}", "square centimeters" -> "centimeter^2"      "m s^{-1}", "meters per second" -> "meter second^-1"
"""

from __future__ import annotations

import re
from functools import lru_cache

from gspo_lite.rewards.grading.unit_names import SYMBOLS, WORDS

NOUN = re.compile(r"(?=.*[aeiouy])[a-z]{3}", re.IGNORECASE)
CHANGING = {"nautical", "percentage", "percent"}  # words that make another unit of the one behind them
CURRENCIES = {"dollar", "euro", "yen", "sterling", "rupee", "cent", "yuan", "won"}
POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "squared": 2, "cubed": 3}
TOKEN = re.compile(r" *(?:([A-Za-z$€£¥₹₩円元¢°%Ωµμ]+(?:-[A-Za-z]+)*)\.?|\^ ?\(?([-+]?\d)\)?|([/*()]))")
SPELLINGS = [
    (re.compile(r"\\(?:cdot|times)(?![a-z])"), "*"),
    (re.compile(r"\\(?:Omega|ohm)(?![a-z])"), "Ω"),
    (re.compile(r"\\mu(?![a-z]) ?"), "μ"),
    (re.compile(r"(?:° ?|\bdeg(?:ree)?s? )([CF])(?:elsius|ahrenheit)?(?![a-z])", re.IGNORECASE), r" °\1 "),
    (re.compile(r"\\frac ?\{([^{}]*)\} ?\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"^in (?=total|all|each|the|an? )"), "of "),
    (re.compile(r"[{}]"), ""),
]
# A product of letters is one of variables, unless it is such a unit
PRODUCT = re.compile(r"[a-zA-Z](?: ?\^ ?\d)?(?:(?: ?\* ?| )[a-zA-Z](?: ?\^ ?\d)?)+")
JOINED = re.compile(r"[NJWAVTC] ?\*? ?[msh](?: ?\^ ?\d)?")
MOST = 60  # characters of a unit
FILLERS = set(
    """
    a an the of in each every long wide high tall deep away apart total altogether remaining more old only per
    """.split()  # noqa: SIM905
)
# Words that change what the number before them means.
FUNCTION_WORDS = set(
    """
    or to and not maybe perhaps but is are was were isn't too impossible than about approximately roughly nearly
    almost wrong incorrect false no cannot probably possibly presumably likely think guess if when at least most over
    under gross lakh crore tens hundreds tenths hundredths thousandths maximum minimum max approx binary octal hex fails
    factorial choose mod plus minus divided by point half halves thirds base i e x y z n remainder r
    """.split()  # noqa: SIM905
)


@lru_cache(4096)
def read_unit(text: str) -> str | None:
    """Return one name for a unit or for the things that are counted; None if the text cannot be either."""
    for pattern, plain in SPELLINGS:
        text = pattern.sub(plain, text)
    text = text.strip(" .")
    tokens = tokens_of(text)
    words = [match[1] for match in tokens if match[1]]
    if not tokens or changes_number(text, words):
        return None if text else ""
    while len(tokens) > 1 and tokens[-1][1] in FILLERS - {"in"}:
        tokens.pop()  # 5 cm long
    return measure(tokens) or counted(words)


def tokens_of(text: str) -> list[re.Match[str]]:
    """Return the words, exponents and signs of a unit; nothing for a text with anything else or too long for one."""
    tokens: list[re.Match[str]] = []
    position = 0
    while position < len(text) <= MOST:
        match = TOKEN.match(text, position)
        if match is None:
            return []
        tokens.append(match)
        position = match.end()
    return tokens


def changes_number(text: str, words: list[str]) -> bool:
    """Return whether words behind a number are not a unit: they calculate, deny or hedge, or they are variables."""
    if not words or words[0].lower() in ("squared", "cubed"):
        return True
    product = PRODUCT.fullmatch(text) and not JOINED.fullmatch(text)
    return bool(product or FUNCTION_WORDS & {word.lower() for word in words if word not in SYMBOLS})


def measure(tokens: list[re.Match[str]]) -> str | None:
    """Return a product of powers of known units, in one order; None if a word is not a unit."""
    powers: dict[str, int] = {}
    last: list[tuple[str, int]] = []
    side = power = 1
    for match in tokens:
        word, exponent, sign = match[1], match[2], match[3]
        if sign == "/" or word in ("per", "an", "a"):
            side = -1
        elif exponent or (word or "").lower() in ("squared", "cubed"):
            factor = int(exponent) if exponent else POWERS[word.lower()]
            for name, one in last:
                powers[name] += one * (factor - 1)
        elif word and word.lower() in POWERS:
            power = POWERS[word.lower()]
        elif word:
            last = [(name, side * power * one) for name, one in factors(word)]
            if not last:
                return None
            for name, one in last:
                powers[name] = powers.get(name, 0) + one
            power = 1
    return " ".join(f"{name}^{one}" if one != 1 else name for name, one in sorted(powers.items()) if one)


def factors(word: str) -> list[tuple[str, int]]:
    """Return the units with their powers that a word or symbol names; nothing for other words."""
    name = SYMBOLS.get(word) or WORDS.get(word.lower() if len(word) > 1 else word)
    if name is None:
        parts = [factors(part) for part in word.split("-")] if "-" in word else []
        return [one for part in parts for one in part] if all(parts) else []
    return [(one.partition("^")[0], int(one.partition("^")[2] or "1")) for one in name.split()]


def counted(words: list[str]) -> str | None:
    """Return the things counted, as singular words without fillers; None for letters that are not words."""
    if not any(NOUN.search(word) for word in words):
        return None
    plain = [word for word in words if word.lower() not in FILLERS]
    names = [SYMBOLS.get(word) or WORDS.get(word.lower()) or singular(word.lower()) for word in plain]
    return f"things {' '.join(names)}" if names else ""


def singular(word: str) -> str:
    """Return a noun without the ending of its plural, roughly."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def is_known_unit(text: str) -> bool:
    """Return whether a text is a unit of measurement, which may follow a number directly."""
    unit = read_unit(text)
    return bool(unit) and not str(unit).startswith("things ")


def units_agree(first: str, second: str) -> bool:
    """Return whether two units as `read_unit` names them can belong to one answer.

    One may be missing; a described thing is the thing (red apples are apples), and a price per hour is a price.
    """
    if not first or not second or first == second or {first, second} == {"pound", "sterling"}:
        return True
    if "things " not in first + second:
        paid = [{part for part in unit.split() if not part.endswith("^-1")} for unit in (first, second)]
        return paid[0] == paid[1] and paid[0] <= CURRENCIES and (first in CURRENCIES or second in CURRENCIES)
    if ({*first.split()} ^ {*second.split()}) & CHANGING:
        return False
    given, wanted = ({*unit.removeprefix("things ").split()} for unit in (first, second))
    return given <= wanted or wanted <= given
