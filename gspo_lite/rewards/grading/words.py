"""Reads numbers in words: cardinals below a million, lone ordinals, and simple fractions.

    "thirty-two apples" -> "32 apples"      "one and two thirds" -> "1 2/3"      "third" -> "3rd"

A lone ordinal is a place in an order; it is a fraction only behind a number.
"""

from __future__ import annotations

import re

ONES = {
    word: value
    for value, word in enumerate(
        """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen""".split()  # noqa: SIM905
    )
}
TENS = {
    word: 20 + 10 * index
    for index, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split())  # noqa: SIM905
}
IRREGULAR = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
             "twelve": "twelfth"}  # fmt: skip
ORDINALS = {
    IRREGULAR.get(word) or re.sub("y$", "ie", word) + "th": value
    for word, value in {**ONES, **TENS, "hundred": 100, "thousand": 1000}.items()
}
PARTS = {
    "half": 2, "halves": 2, "quarter": 4, "quarters": 4,
    **{word + ending: value for word, value in ORDINALS.items() if value > 2 for ending in ("s", "")},
}  # fmt: skip

BELOW_100 = rf"(?:(?:{'|'.join(TENS)})(?:[ -](?:{'|'.join(list(ONES)[9:0:-1])}))?|(?:{'|'.join(list(ONES)[::-1])}))"
BELOW_1000 = rf"(?:(?:(?:a|{'|'.join(list(ONES)[9:0:-1])}) )?hundred(?: (?:and )?{BELOW_100})?|{BELOW_100})"
CARDINAL = rf"(?:(?:(?:a|{BELOW_1000}) )?thousand(?: (?:and )?{BELOW_1000})?|{BELOW_1000})"
SPOKEN = re.compile(
    rf"(?<![\\a-zA-Z-])(?<!\d )(?:(?:(?P<whole>{CARDINAL}|\d{{1,9}}) and )?(?P<top>an?|{CARDINAL})[ -]"
    rf"(?P<part>{'|'.join(sorted(PARTS, key=len, reverse=True))})|(?P<half>half)|(?P<cardinal>{CARDINAL}))"
    r"(?!-?[a-zA-Z])",
    re.IGNORECASE,
)
PLACE = re.compile(rf"(?:the )?(?:({'|'.join(TENS)})[ -])?({'|'.join(ORDINALS)})", re.IGNORECASE)
NEGATIVE = re.compile(r"^(?:negative|minus) (?=[\d\\.])", re.IGNORECASE)
WORD = re.compile(r"[a-zA-Z]{3}")


def with_digits(text: str) -> str:
    """Return a text with the numbers that it spells out in digits."""
    if not WORD.search(text):
        return text
    place = PLACE.fullmatch(text)
    if place:
        return f"{TENS.get((place[1] or '').lower(), 0) + ORDINALS[place[2].lower()]}th"
    return NEGATIVE.sub("-", SPOKEN.sub(in_digits, text))


def in_digits(match: re.Match[str]) -> str:
    """Return the digits of a spoken cardinal, fraction or mixed number."""
    if match["cardinal"]:
        return str(cardinal(match["cardinal"]))
    if match["half"]:
        return "1/2"
    top = 1 if match["top"].lower() in ("a", "an") else cardinal(match["top"])
    if top != 1 and not match["part"].lower().endswith("s"):
        return match[0]  # three fifth graders
    fraction = f"{top}/{PARTS[match['part'].lower()]}"
    return f"{cardinal(match['whole'])} {fraction}" if match["whole"] else fraction


def cardinal(words: str) -> int:
    """Return the value of a cardinal in words, or in digits."""
    total = group = 0
    for word in re.split("[ -]", words.lower()):
        if word == "thousand":
            total, group = total + max(group, 1) * 1000, 0
        elif word == "hundred":
            group = max(group, 1) * 100
        else:
            group += int(word) if word.isdigit() else ONES.get(word, TENS.get(word, 1 if word == "a" else 0))
    return total + group
