"""Finds the last number of a text, as people and models write numbers in prose and LaTeX.

    so 1,250.50 in all     1,250.50          it is $-7$.          -7          \\frac{3}{4} cups       \\frac{3}{4}
    about 30 % of them     30 %              H2O and x_1          none        on 12:30 or 2/3         2/3

It reads the last number, whatever else a text says: `7 or 8` gives 8. Must not know values; the graders compare them.
"""

from __future__ import annotations

import re
from collections import deque

from gspo_lite.completion.thinking import CharSpan

MINUS = "[-−–‐‑﹣－]"
NUMBER = re.compile(
    rf"""
    (?= [-−–‐‑﹣－\\US$€£¥₹.\d¼-¾⅐-⅞] )                                # what a number can begin with: fails fast
    (?: (?<![\w)\]}}%°]) {MINUS} )?                                  # a sign, but not the dash of 5-9
    (?: (?: \\\$ | (?<![A-Za-z])US[ ]?\$ | [$€£¥₹] ) [ ]? {MINUS}? )?
    (?<! [A-Za-z^] ) (?<! [A-Za-z)}}]_ ) (?<! [_^]\{{ ) (?<! \d ) (?<! \d[.,:/'] )    # none of H2O, x^2, x_1, x_{{1}}
    (?:
        (?: \d+[ ]? )? \\[dtc]?frac[ ]?\{{ {MINUS}?\d+ \}}[ ]?\{{ \d+ \}}     # \frac{{3}}{{4}}, 1\frac{{3}}{{4}}
      | \d+ [ ] (?:and[ ])? \d+ / \d+                                       # 1 3/4
      | (?: \d+[ ]? )? [¼-¾⅐-⅞]
      | \d{{1,3}} (?: [ ]\d{{3}} )+ (?!\d) (?: [.,]\d+ )?                       # 12 000
      | (?: \d+ (?: (?: [.,:/'] | \{{,\}} | [\u00a0\u202f\u2009] ) \d+ )* (?: [ ]/[ ]\d+ )? | \.\d+ )
        (?: [eE][-+]?\d+ (?!\w) | [ ]?(?: \\times | \\cdot | [×x*·] )[ ]?10[ ]?
          (?: \^[ ]?\{{?{MINUS}?\d+\}}? | [⁰¹²³⁴-⁹⁻]+ ) )?
    )
    (?: [ ]?\^[ ]?\{{?{MINUS}?\d+\}}? | [⁰¹²³⁴-⁹⁻]+ )?                       # 2^{{10}}
    (?: [ ]?(?: \\?% | [€£¥₹] | (?:percent|per[ ]cent|hundred|thousand|million|billion|trillion)\b
      | (?:dollars?|euros?|pounds?|cents?|USD|EUR|GBP)\b ) ){{0,2}}
    """,
    re.VERBOSE,
)


def last_number_spans(text: str) -> list[CharSpan]:
    """Return the span of the last number, with its sign, and with its unit of money or percent; nothing without one."""
    found = deque(NUMBER.finditer(text), maxlen=1)
    if not found:
        return []
    start, end = found[0].span()
    in_formula = text[start] == "$" and text[end : end + 1] == "$"  # the dollar sign of LaTeX, not of money
    return [(start + in_formula, end)]
