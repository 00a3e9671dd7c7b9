"""The embedded sentences: only the right reply fits a row's schema, and the splits share nothing."""

import json

import pytest

from gspo_lite.data import people
from gspo_lite.errors import UsageError
from gspo_lite.rewards.structured import json_schema

SPLITS = {split: people.problems(split) for split in people.SPLITS}


def test_rows_are_the_same_every_time():
    first = SPLITS["test"][0]
    assert first["prompt"] == "After 235 days at sea, Mark, 14, wrote a letter to Ida."
    assert first["answer"] == '{"name": "Mark", "age": 14}'
    assert (len(SPLITS["train"]), len(SPLITS["test"])) == (3000, 500)


def test_the_splits_share_no_sentence_and_no_name():
    names = {split: {word for row in rows for word in names_in(row)} for split, rows in SPLITS.items()}
    assert not names["train"] & names["test"]
    assert not set(people.NAMES["train"].split()) & set(people.NAMES["test"].split())
    sentences = [row["prompt"] for rows in SPLITS.values() for row in rows]
    assert len(set(sentences)) == len(sentences)


def names_in(row):
    return {word.strip(".,:;()") for word in row["prompt"].split()} & set(
        f"{people.NAMES['train']} {people.NAMES['test']}".split()
    )


def test_only_the_name_and_the_age_of_the_sentence_fit():
    rows = SPLITS["train"][:50]
    reward, schemas = json_schema.with_options(marker="text"), [row["schema"] for row in rows]
    assert reward([row["answer"] for row in rows], schema=schemas) == [1.0] * 50
    for wrong in ({"name": "Nobody"}, {"age": 5}, {"age": "44"}, {"city": "Rome"}):
        texts = [json.dumps(json.loads(row["answer"]) | wrong) for row in rows]
        assert reward(texts, schema=schemas) == [0.0] * 50


def test_hard_sentences_distract_and_easy_ones_do_not():
    easy, hard = people.problems("train", "easy"), SPLITS["train"]
    numbers = [len([word for word in row["prompt"].split() if any(map(str.isdigit, word))]) for row in easy]
    assert set(numbers) == {1}
    assert {len(names_in(row)) for row in easy} == {1}
    assert 0.4 < sum(len(names_in(row)) == 2 for row in hard) / len(hard) < 0.6


@pytest.mark.parametrize(("split", "difficulty", "place"), [("dev", "easy", "split"), ("train", "medium", "subset")])
def test_unknown_split_or_difficulty_names_what_is_allowed(split, difficulty, place):
    with pytest.raises(UsageError, match="allowed: `") as raised:
        people.problems(split, difficulty)
    assert raised.value.hint == f"set data.{place}"
