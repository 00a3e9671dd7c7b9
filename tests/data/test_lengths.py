import pytest
from datasets import Dataset

from gspo_lite.data.adapters import columns
from gspo_lite.data.inputs import prompt_length
from gspo_lite.data.lengths import drop_long_prompts
from gspo_lite.data.sources import Problems
from gspo_lite.errors import DataError
from gspo_lite.models.starter import build_tokenizer
from tests.models.chat_families import FAMILIES
from tests.models.chat_families import build_tokenizer as build_family


def problems(*questions):
    rows = [{"prompt": [{"role": "user", "content": text}], "answer": "1"} for text in questions]
    return Problems(Dataset.from_list(rows), Dataset.from_list(rows), [], columns)


def test_long_prompts_are_left_out_and_counted():
    # every letter is one token, and the chat template adds two
    kept = drop_long_prompts(problems("abc", "abcdefgh"), build_tokenizer(), 5, {})
    assert [chat[0]["content"] for chat in kept.train["prompt"]] == ["abc"]
    assert len(kept.held_out) == 1
    assert kept.notes == [
        "1 problems to train on left out: over 5 prompt tokens",
        "1 problems held out left out: over 5 prompt tokens",
    ]


def test_when_all_are_too_long_the_shortest_is_named():
    with pytest.raises(DataError, match="up to 4 tokens; the shortest has 5"):
        drop_long_prompts(problems("abc", "abcdefgh"), build_tokenizer(), 4, {})


def test_what_the_variables_of_the_template_write_counts():
    # an empty block of thoughts is <think>, four line ends and </think>, spelled letter by letter
    tokenizer, row = build_family(FAMILIES["qwen3"]), problems("abc").train[0]
    thinking, not_thinking = (prompt_length(tokenizer, row, {"enable_thinking": on}) for on in (True, False))
    assert not_thinking == thinking + 7 + 4 + 8
    kept = drop_long_prompts(problems("abc", "abcd"), tokenizer, not_thinking, {"enable_thinking": False})
    assert [chat[0]["content"] for chat in kept.train["prompt"]] == ["abc"]
