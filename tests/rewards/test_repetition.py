"""The share of a completion that repeats it, over tokens and words."""

import random
import time

import pytest

from gspo_lite.credit import Score
from gspo_lite.errors import UsageError
from gspo_lite.rewards.repetition import repetition_penalty

CASES = [
    ("", 2, 0.0, "nothing"),
    ("a", 2, 0.0, "shorter than a run"),
    ("a b", 2, 0.0, "one run"),
    ("a b c d", 2, 0.0, "no run twice"),
    ("a b a b", 2, -0.5, "the second `a b` of four words"),
    ("a a a a a", 2, -0.8, "the runs at 1, 2 and 3 cover four of five"),
    ("a b c a b d", 2, -1 / 3, "`a b` again, two of six"),
    ("a b c a b d", 3, 0.0, "no run of three again"),
    ("a b a", 1, -1 / 3, "single words"),
    ("a b c a b c a b c", 3, -2 / 3, "a loop of three"),
    ("x a b c d e y a b c d e z", 5, -5 / 13, "a run of five, joined from four and four"),
    ("x a b c d e f g y a b c d e f g z", 7, -7 / 17, "a run of seven"),
    ("a " * 40, 40, 0.0, "forty words are one run"),
    ("a " * 80, 40, -79 / 80, "runs from the second word on"),
]


@pytest.mark.parametrize("unit", ["words", "tokens"])
@pytest.mark.parametrize(("text", "ngram", "value", "reason"), CASES, ids=[case[3] for case in CASES])
def test_repetition_penalty(text, ngram, value, reason, unit):
    made = repetition_penalty.with_options(ngram=ngram, unit=unit)
    ids = [[100_000 + ord(word) for word in text.split()]]
    # Each unit alone decides: the other input says nothing here.
    message = [{"role": "assistant", "content": text}]
    found = made([message]) if unit == "words" else made([""], completion_ids=ids)
    assert found == [pytest.approx(value)], reason


def test_it_agrees_with_the_definition_on_random_text():
    draw = random.Random(3)
    for _ in range(200):
        ngram, ids = draw.randint(1, 9), [draw.randint(0, 2) for _ in range(draw.randint(0, 60))]
        seen, inside = set(), set()
        for start in range(len(ids) - ngram + 1):
            run = tuple(ids[start : start + ngram])
            inside |= set(range(start, start + ngram)) if run in seen else set()
            seen.add(run)
        value = repetition_penalty.with_options(ngram=ngram)([""], completion_ids=[ids])[0]
        assert value == pytest.approx(-len(inside) / max(len(ids), 1))


def test_spans_point_at_the_words_that_repeat():
    made = repetition_penalty.with_options(ngram=2, unit="words", spans=True)
    text = "so it is  so it was, so it"
    #       0123456789...            the second `so it` is 10 to 15, the third 21 to 26
    assert made([text]) == [Score(-0.5, [(10, 15, 1.0), (21, 26, 1.0)])]
    assert made(["nothing twice"]) == [Score(0.0, [])]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"ngram": 0}, "`ngram`.*got `0`"), ({"ngram": -1}, "`ngram`"), ({"ngram": 1001}, "`ngram`"),
     ({"unit": "characters"}, "`unit`"), ({"spans": True}, "use it with `unit: words`")],
)  # fmt: skip
def test_repetition_penalty_refuses(options, says):
    with pytest.raises(UsageError, match=says):
        repetition_penalty.with_options(**options)


@pytest.mark.parametrize("text", ["a " * 500_000, "<think>" * 140_000, "ab" * 500_000, " " * 10**6, "\n a" * 330_000])
def test_a_million_characters_take_no_time(text):
    words = repetition_penalty.with_options(unit="words", ngram=20, spans=True)
    began = time.perf_counter()
    words([text])
    assert time.perf_counter() - began < 1.0


def test_a_million_tokens_take_no_time():
    ids = [random.Random(1).randint(0, 9)] * 500_000 + list(range(500_000))
    began = time.perf_counter()
    assert repetition_penalty([""], completion_ids=[ids])[0] == pytest.approx(-0.499999)  # all but the first of 10^6
    assert time.perf_counter() - began < 1.5
