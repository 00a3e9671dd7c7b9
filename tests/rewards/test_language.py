"""The share of letters in the scripts of a language."""

import time

import pytest

from gspo_lite.credit import Score
from gspo_lite.errors import UsageError
from gspo_lite.rewards.language import language_consistency

CASES = [
    ("so it is twelve", ["latin"], 1.0, "one script"),
    ("so это 12", ["latin"], 0.4, "two of five letters"),
    ("это", ["latin"], 0.0, "another script"),
    ("это", ["cyrillic"], 1.0, "the script asked for"),
    ("我们 ok", ["han"], 0.5, "two of four"),
    ("我们 ok", ["han", "latin"], 1.0, "two scripts allowed"),
    ("これは漢字とカタカナ", ["han", "hiragana", "katakana"], 1.0, "Japanese"),
    ("これは漢", ["han"], 0.25, "Japanese for Chinese, one of four"),
    ("안녕", ["hangul"], 1.0, "Korean"),
    ("ＯＫｏｋ", ["latin"], 1.0, "full-width letters"),
    ("café naïve", ["latin"], 1.0, "accents"),
    ("<think>это</think>", ["cyrillic"], 1.0, "tags do not count"),
    ("\\frac{а}{б} \\cdot", ["latin"], 0.0, "nor do LaTeX commands"),
    ("это x + π = y", ["cyrillic"], 1.0, "nor do variables"),
    ("12 + 30 = 42", ["latin"], 0.0, "no letters"),
    ("", ["latin"], 0.0, "nothing"),
]


@pytest.mark.parametrize(("text", "scripts", "value", "reason"), CASES, ids=[case[3] for case in CASES])
def test_language_consistency(text, scripts, value, reason):
    made = language_consistency.with_options(scripts=scripts)
    assert made([text]) == [value], reason
    assert made([[{"role": "assistant", "content": text}]]) == [value], reason


def test_spans_point_at_the_letters_of_other_scripts():
    made = language_consistency.with_options(spans=True)
    assert made(["so это <think> ок"]) == [Score(2 / 7, [(3, 6, 1.0), (15, 17, 1.0)])]
    assert made(["so"]) == [Score(1.0, [])]


@pytest.mark.parametrize(
    "options", [{"scripts": []}, {"scripts": ["english"]}, {"scripts": "latin"}, {"language": "en"}]
)
def test_language_consistency_refuses(options):
    with pytest.raises(UsageError, match="language_consistency"):
        language_consistency.with_options(**options)


HOSTILE = ["x " * 500_000, "\\a" * 500_000, "я" * 10**6, "<think>" * 140_000, "\\" * 10**6, "<" * 10**6, "1" * 10**6,
           "".join(map(chr, range(0x10000, 0x10FFFF))), "aя" * 500_000]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:2] for text in HOSTILE])
def test_a_million_characters_take_no_time(text):
    began = time.process_time()
    language_consistency([text])
    assert time.process_time() - began < 1.0
