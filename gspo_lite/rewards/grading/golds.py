"""Reads golds as data sets write them, and says why one can never be matched.

    "5 + 7 = 12\\n#### 12\\nThe answer is: 12" -> "12"      "<answer>C</answer>" -> "C"      "['4', '5']" -> "4, 5"

Owns what a gold is; graders compare what it returns. Golds are the user's own data, so they are read without limits.
"""

from __future__ import annotations

import ast
import math
import re
from typing import Any

from gspo_lite.completion.text import boxed, find_answer

MOST_DIGITS = 2000  # of a whole number; no answer is longer
PLACEHOLDERS = {
    "", "nan", "none", "null", "nil", "n/a", "n.a.", "<na>", "?", "??", "-", "--", "proof", "see proof", "notfound",
    "not found", "no answer", "no answer found", "unknown", "missing", "tbd", "todo", "[]", "{}",
}  # fmt: skip
CONCLUSION = re.compile(
    r"\b(?:the (?:final |correct )?answer is:?|(?:final )?answer:) *(\S[^\n]*?)\.?\s*$", re.IGNORECASE
)
LISTED = re.compile(r"\s*[\[(]\s*['\"].*['\"]\s*,?\s*[\])]\s*", re.DOTALL)
WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}")
SENTENCES = re.compile(r"[.!?]\s+[A-Z]|\n")
SHORT = 15  # characters that cannot hold so many words
MOST_WORDS = 15  # of an answer in one sentence
MOST_WORDS_OF_MANY = 5  # of an answer that goes on over a full stop or a new line


def gold_text(gold: Any, *, prose: bool = False) -> str | None:
    """Return the final answer that a gold holds; None if it holds none, as `why_unusable` says."""
    text = final_answer(gold)
    return None if problem_of(gold, text, prose) else text


def why_unusable(gold: Any, *, prose: bool = False) -> str | None:
    """Return why no answer can match a gold; None if one can. With `prose`, a text of any length is an answer."""
    return problem_of(gold, final_answer(gold), prose)


def problem_of(gold: Any, text: str | None, prose: bool) -> str | None:
    """Return what is wrong with the text that was found in a gold; None if nothing is."""
    if text is None:
        return f"{type(gold).__name__} is not an answer"
    if text.strip("$ .").casefold() in PLACEHOLDERS:
        return "stands for no answer" if text.strip() else "empty"
    if prose or len(text) < SHORT:
        return None
    most = MOST_WORDS_OF_MANY if SENTENCES.search(text.strip()) else MOST_WORDS
    return "no answer found in its prose" if len(WORD.findall(text)) > most else None


def final_answer(gold: Any) -> str | None:
    """Return the text of a gold behind its marker; None if it is neither text, a number nor a list of them."""
    gold = gold.tolist() if hasattr(gold, "tolist") else gold  # of numpy
    if isinstance(gold, bool):
        return None
    if isinstance(gold, int):  # as a float it may be too large, and written out longer than Python allows
        return repr(gold) if gold.bit_length() <= 3 * MOST_DIGITS else None
    if isinstance(gold, float):
        return repr(gold) if math.isfinite(gold) else None
    if isinstance(gold, list | tuple):
        return joined(gold)
    return None if not isinstance(gold, str) else in_text(gold)


def joined(golds: list[Any] | tuple[Any, ...]) -> str | None:
    """Return the answers of a list as one listing, or the rows of a list of lists; None if one is not an answer."""
    if golds and all(isinstance(row, list | tuple) for row in golds):
        return repr([list(row) for row in golds])  # a matrix
    texts = [gold_text(one) for one in golds]
    known = [text for text in texts if text is not None]
    return ", ".join(known) if known and len(known) == len(texts) else None


def in_text(gold: str) -> str | None:
    """Return the answer in a text: behind its last `####`, in its last box or tag, in its list, or all of it."""
    if gold.isdigit():
        return gold
    if LISTED.fullmatch(gold):
        try:
            listed = ast.literal_eval(gold.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            listed = None
        if isinstance(listed, list | tuple):
            return joined(listed)
    if "<answer>" in gold:
        gold = find_answer(gold, "tag") or ""
    if "####" in gold:
        gold = find_answer(gold, "gsm8k") or ""
    if "\\boxed" in gold:
        return boxed(gold) or ""
    conclusion = CONCLUSION.search(gold)
    return conclusion[1] if conclusion else gold.strip()
