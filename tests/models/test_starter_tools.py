import random

import pytest

from gspo_lite.data import directory, letters
from gspo_lite.models import starter, starter_tools

ROOM = directory.find("Nora", "Berg")
ROW = {"prompt": "Where is Nora Berg?", "answer": ROOM}
CALL = {"type": "function", "function": {"name": "find", "arguments": {"first": "Nora", "last": "Berg"}}}
EPISODE = [
    {"role": "system", "content": "Use the tools."},
    {"role": "user", "content": ROW["prompt"]},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "name": "find", "content": ROOM},
    {"role": "assistant", "content": f"<answer>{ROOM}</answer>"},
]


class Faultless(random.Random):
    def random(self):
        return 0.9999


@pytest.fixture(scope="module")
def tokenizer():
    return starter_tools.build_tokenizer()


def text_of(row):
    return "".join(text for text, _ in row)


def written(row):
    """Return what the model learns to write in a row."""
    return [text for text, is_learned in row if is_learned]


def test_an_episode_is_learned_as_the_template_writes_it(tokenizer):
    learned = starter_tools.directory_episode(ROW, Faultless())
    assert text_of(learned) == tokenizer.apply_chat_template(EPISODE, tokenize=False)
    assert written(learned) == [
        '<tool_call>{"name":"find","arguments":{"first":"Nora","last":"Berg"}}</tool_call><|end|>',
        f"<answer>{ROOM}</answer><|end|>",
    ]


def test_a_call_is_few_tokens_and_no_part_of_it_is_special(tokenizer):
    call = written(starter_tools.directory_episode(ROW, Faultless()))[0]
    assert len(tokenizer.tokenize(call)) == 6  # begin, Nora, between, Berg, end, end of the message
    assert not {*starter_tools.TAGS} & {*tokenizer.all_special_tokens}


@pytest.mark.parametrize("episode", [starter_tools.directory_episode, starter_tools.game_episode])
def test_calls_are_read_from_what_the_model_writes(tokenizer, episode):
    row = ROW if episode is starter_tools.directory_episode else letters.problems("train")[0]
    first, *_, last = written(episode(row, Faultless(2)))
    prefix = tokenizer.encode(starter_tools.question(row)[0], add_special_tokens=False)
    call = tokenizer.parse_response(tokenizer.encode(first, add_special_tokens=False), prefix=prefix)
    assert call["tool_calls"][0]["function"]["name"] in ("find", "guess")
    end = tokenizer.parse_response(tokenizer.encode(last, add_special_tokens=False), prefix=prefix)
    assert end == {"role": "assistant", "content": last.removesuffix("<|end|>")}


def test_a_saved_tokenizer_reads_calls_too(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.response_template == starter_tools.RESPONSE_TEMPLATE
    assert loaded.chat_template == starter_tools.CHAT_TEMPLATE


def test_trl_takes_the_template_as_it_is(tokenizer):
    from trl.chat_template_utils import is_chat_template_prefix_preserving, supports_tool_calling

    assert supports_tool_calling(tokenizer)
    assert is_chat_template_prefix_preserving(tokenizer)


@pytest.mark.parametrize(("prompt", "rate"), [("Where is Irene Berg?", 0.75), ("Where is Laura Berg?", 0.25)])
def test_it_gives_up_at_the_stated_rates(prompt, rate):
    rng, row = random.Random(0), {"prompt": prompt, "answer": "0"}
    episodes = [starter_tools.directory_episode(row, rng) for _ in range(4000)]
    assert sum(len(one) == 2 for one in episodes) / 4000 == pytest.approx(rate, abs=0.03)
    called = [written(one)[-1] for one in episodes if len(one) > 2]
    assert sum("unknown" in text for text in called) / len(called) == pytest.approx(0.10, abs=0.03)


def test_about_half_of_the_games_are_won_as_they_are_shown_and_all_when_played_well():
    rng = random.Random(0)
    games = [text_of(starter_tools.game_episode(row, rng)) for row in letters.problems("train")]
    assert sum("<|tool|>right" in text for text in games) / len(games) == pytest.approx(0.51, abs=0.03)
    assert {text.count("<tool_call>") <= 4 and text.endswith("Done.<|end|>") for text in games} == {True}


def test_only_what_the_model_writes_is_learned(tokenizer):
    row = starter_tools.directory_episode(ROW, Faultless())
    batch = starter.padded(tokenizer, [row, starter.row_of("?", "1")])
    labels = batch["labels"][0]
    assert tokenizer.decode(labels[labels >= 0]) == "".join(written(row))
    assert tokenizer.decode(batch["input_ids"][0]) == text_of(row)
    assert (batch["labels"][1, 5:] == -100).all()


def test_both_starters_have_folders_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setenv("GSPO_LITE_CACHE", str(tmp_path))
    monkeypatch.setattr(starter, "STEPS", 1)
    monkeypatch.setattr(starter_tools, "STEPS", 1)
    folders = [starter.starter_folder(), starter_tools.starter_folder()]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(folder.name for folder in folders)
    assert [folder.name.rpartition("-")[0] for folder in folders] == ["starter", "starter-tools"]
