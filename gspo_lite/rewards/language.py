"""A reward for keeping to one language, judged by the script of its letters."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Literal

from pydantic import Field

from gspo_lite.completion.markers import ANSWER_TAGS
from gspo_lite.completion.marks import Score
from gspo_lite.completion.text import tag_patterns
from gspo_lite.completion.thinking import Pair, Thinking
from gspo_lite.rewards.contract.registry import reward

Script = Literal[
    "arabic", "armenian", "bengali", "cyrillic", "devanagari", "georgian", "greek", "han", "hangul", "hebrew",
    "hiragana", "katakana", "latin", "tamil", "telugu", "thai",
]  # fmt: skip
# Tags, LaTeX commands and variable names consist of letters but belong to no language.
COMMAND = re.compile(r"\\[A-Za-z]+")
VARIABLE = re.compile(r"\b[A-Za-zα-ωΑ-Ω]\b")
FOREIGN, OWN = "x", "o"  # two letters, so that nothing else in a text can be mistaken for them


@reward
def language_consistency(
    completion: str,
    *,
    scripts: Annotated[list[Script], Field(min_length=1)] = ["latin"],  # noqa: B006
    spans: bool = False,
    thinking: Thinking = "think",
    answer_tags: Pair = ANSWER_TAGS,
) -> float | Score:
    """Return the share of a completion's letters that belong to the scripts of its language, from 0 to 1.

    DeepSeek-R1 (arXiv 2501.12948) rewards the share of words in the target language to keep answers from mixing
    languages; the script of a letter needs no model, but cannot distinguish English from French. Chinese is `[han]`,
    Japanese `[han, hiragana, katakana]`, Korean `[hangul]`. Think and answer tags, LaTeX commands and single Latin or
    Greek letters (variables) do not count; a completion without letters scores 0. With `spans` the reward applies only
    to the letters of other scripts, for advantages per token.

        so it is twelve       1.0
        so это 12             0.4
    """
    prose = completion
    for pattern in (*tag_patterns(thinking, answer_tags), COMMAND, VARIABLE):
        prose = pattern.sub(lambda match: " " * len(match[0]), prose)
    letters = filter(str.isalpha, set(prose))
    kinds = prose.translate({ord(letter): OWN if script_of(letter) in scripts else FOREIGN for letter in letters})
    own, foreign = kinds.count(OWN), kinds.count(FOREIGN)
    value = own / (own + foreign) if own else 0.0
    if not spans:
        return value
    return Score(value, [(*match.span(), 1.0) for match in re.finditer(f"{FOREIGN}+", kinds)])


def script_of(letter: str) -> str:
    """Return the script of a letter in lower case, by its Unicode name; full-width and styled ones count as plain."""
    plain = unicodedata.normalize("NFKC", letter)[:1]
    name = unicodedata.name(plain, "").lower()
    if name.startswith(("cjk", "ideographic")):
        return "han"
    return re.split(r"[ -]", name, maxsplit=1)[0]
