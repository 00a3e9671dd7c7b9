"""Finds the last number of a text, as people and models write numbers in prose and LaTeX.

    so 1,250.50 in all     1,250.50          it is $-7$.          -7          \\frac{3}{4} cups       \\frac{3}{4}
    about 30 % of them     30 %              H2O and x_1          none        on 12:30 or 2/3         2/3

It reads the last number, whatever else a text says: `7 or 8` gives 8. A root, a power or a letter at a number belongs
to it: \\sqrt{2} is not 2, nor is 2x. Must not know values; the graders compare them.
"""

from __future__ import annotations

import re
from collections import deque

from gspo_lite.completion.thinking import CharSpan

LONGEST = 20_000  # characters after the last number of an answer, at most
MINUS = "[-−–‐‑﹣－]"
POWERS = "[⁰¹²³⁴-⁹⁻]+"
BEGINS = r"(?=[-−–‐‑﹣－\\US$€£¥₹√.\d¼-¾⅐-⅞])"  # fails fast
SIGN = rf"(?:(?<![\w)\]}}%°]){MINUS}|(?:(?<=[=:(] )|\A){MINUS} )?"  # not the dash of 5-9, nor of a list
MONEY = rf"(?:(?:\\\$|(?<![A-Za-z])US ?\$|[$€£¥₹]) ?{MINUS}?)?"
STARTS = r"(?<![A-Za-z^])(?<![A-Za-z)}]_)(?<![_^]\{)(?<!\d)(?<!\d[.,:/'])"  # none of H2O, x^2, x_1, x_{1}
EXPONENT = rf"(?: ?\^ ?\{{?{MINUS}?\d+\}}?|{POWERS})"
LATEX_FRACTION = rf"(?:\d+ ?)?\\[dtc]?frac ?\{{{MINUS}?\d+\}} ?\{{\d+\}}"
MIXED = r"\d+ (?:and )?\d+/\d+|(?:\d+ ?)?[¼-¾⅐-⅞]"  # 1 3/4, 1½
ROOT = r"(?:\\sqrt ?|√ ?)(?:\{\d+\}|\d+)"
SPACED = r"\d{1,3}(?: \d{3})+(?!\d)(?:[.,]\d+)?"  # 12 000
DIGITS = r"\d+(?:(?:[.,:/']|\{,\}|[\u00a0\u202f\u2009])\d+)*(?: / \d+)?|\.\d+"
SCIENTIFIC = rf"(?:[eE][-+]?\d+(?!\w)| ?(?:\\times|\\cdot|[×x*·]) ?10{EXPONENT})?"
GLUED = (  # 2\sqrt{3}, 2π, 5!, 3x; but not 7th
    r"(?: ?\\(?:pi|sqrt ?(?:\{[^{}]{0,20}\}|\d))| ?π| ?√ ?\d+|!+|(?!(?:st|nd|rd|th)\b)[a-z]{1,3}\b)?"
)
UNIT = (
    r"(?: ?(?:\\?%|[€£¥₹]|(?:percent|per cent|hundred|thousand|million|billion|trillion)\b"
    r"|(?:dollars?|euros?|pounds?|cents?|USD|EUR|GBP)\b)){0,2}"
)
VALUE = f"(?:{LATEX_FRACTION}|{MIXED}|{ROOT}|{SPACED}|(?:{DIGITS}){SCIENTIFIC})"
NUMBER = re.compile(f"{BEGINS}{SIGN}{MONEY}{STARTS}{VALUE}{EXPONENT}?{GLUED}{UNIT}")


def last_number_spans(text: str) -> list[CharSpan]:
    """Return the span of the last number, with its sign, and with its unit of money or percent; nothing without one."""
    before = max(0, len(text) - LONGEST)
    found = deque(NUMBER.finditer(text[before:]), maxlen=1)
    if not found:
        return []
    start, end = (before + place for place in found[0].span())
    in_formula = text[start] == "$" and text[end : end + 1] == "$"  # the dollar sign of LaTeX, not of money
    return [(start + in_formula, end)]
