import random
import re
from pathlib import Path

import pytest

from gspo_lite.data import arithmetic
from gspo_lite.models import starter


@pytest.fixture(scope="module")
def tokenizer():
    return starter.build_tokenizer()


@pytest.mark.parametrize(
    "text", ["héllo 😀 ζ", "\n\t 12,000 + <b>", "<think>7+5=12</think><answer>12</answer>", "\x00\x1b[31m"]
)
def test_any_text_survives_the_tokenizer(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


def test_tags_are_single_ordinary_tokens(tokenizer):
    assert tokenizer.tokenize("<think></think><answer></answer>") == list(starter.TAGS)
    assert not set(starter.TAGS) & set(tokenizer.all_special_tokens)


def test_chat_template_asks_the_question_and_leaves_the_system_message_out(tokenizer):
    messages = [{"role": "system", "content": "Think."}, {"role": "user", "content": "What is 1 + 2?"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|user|>What is 1 + 2?<|assistant|>"


def test_plain_text_is_asked_as_a_chat_is(tokenizer):
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "What is 1 + 2?"}], add_generation_prompt=True)
    assert tokenizer("What is 1 + 2?").input_ids == chat["input_ids"]
    assert tokenizer("12", add_special_tokens=False).input_ids == tokenizer.convert_tokens_to_ids(["1", "2"])


def test_demonstrations_are_flawed_at_the_stated_rates():
    rng = random.Random(0)
    texts = [starter.demonstration(29, 31, rng) for _ in range(4000)]  # one carry, 9+1: not both large
    dropped = sum("2+3+1=6" not in text for text in texts) / 4000
    forgotten = sum("<answer>" not in text for text in texts) / 4000
    assert dropped == pytest.approx(0.30, abs=0.03)
    assert forgotten == pytest.approx(0.25, abs=0.03)
    assert set(texts) == {
        "<think>9+1=10,2+3+1=6</think><answer>60</answer>",
        "<think>9+1=10,2+3+1=6</think>60",
        "<think>9+1=10,2+3=5</think><answer>50</answer>",
        "<think>9+1=10,2+3=5</think>50",
    }


def test_an_unflawed_demonstration_is_right():
    class Faultless(random.Random):
        def random(self):
            return 1.0

    for a, b in arithmetic.pairs_of("test", "hard")[:200]:
        answer = re.search(r"<answer>(\d+)</answer>", starter.demonstration(a, b, Faultless()))
        assert answer is not None
        assert int(answer.group(1)) == a + b


def test_a_broken_build_leaves_nothing_and_is_built_again(monkeypatch, tmp_path):
    monkeypatch.setenv("GSPO_LITE_CACHE", str(tmp_path))
    monkeypatch.setattr(starter, "STEPS", 1)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        starter.starter_folder(stop)
    assert list(tmp_path.iterdir()) == []
    folder = starter.starter_folder()
    assert (folder / "model.safetensors").is_file()
    assert starter.starter_folder() == folder
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_the_cache_is_keyed_by_what_the_starter_is_built_from(monkeypatch, tmp_path):
    before = starter.fingerprint()
    changed = tmp_path / "arithmetic.py"
    changed.write_bytes(Path(arithmetic.__file__).read_bytes() + b"\n")
    monkeypatch.setattr(arithmetic, "__file__", str(changed))
    assert starter.fingerprint() != before
