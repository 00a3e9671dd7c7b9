"""Models of a few thousand parameters, data and rewards for the table of behaviours."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

WORDS = [f"w{number}" for number in range(24)]
SPECIALS = ["<|end|>", "<|pad|>", "<|unknown|>", "<|system|>", "<|user|>", "<|assistant|>", "<|quiet|>"]
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|> {{ message['content'] }} <|end|> {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% if quiet %} <|quiet|>{% endif %}{% endif %}"
)
SIZE = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 128, "initializer_range": 0.4,
}  # fmt: skip


def words_tokenizer(*, pad: str | None = None) -> Any:
    """A tokenizer of 31 whole words; without a token for padding, as of Llama, unless one is named."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(SPECIALS + WORDS)}, unk_token="<|unknown|>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens(SPECIALS)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|end|>", pad_token=pad, unk_token="<|unknown|>", chat_template=TEMPLATE,
        padding_side="left",
    )  # fmt: skip


def bytes_tokenizer() -> Any:
    """A tokenizer of single bytes with Qwen3's chat template, whose tool calls TRL can read."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from trl.chat_template_utils import qwen3_chat_template

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
    core.add_tokens([AddedToken(tag, special=False) for tag in ("<tool_call>", "</tool_call>", "<think>", "</think>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=qwen3_chat_template,
        padding_side="left",
    )  # fmt: skip


@functools.cache
def home() -> Path:
    return Path(tempfile.mkdtemp(prefix="trl-behaviours-"))


@functools.cache
def folder(
    kind: str = "Qwen3", pad: str | None = None, ends: tuple[int, ...] = (), letters: bool = False, **options: Any
) -> Path:
    """A causal model with random weights as a folder.

    Args:
        kind: prefix of transformers' classes.
        ends: further tokens that end a completion.
        letters: whether its tokens are bytes.
    """
    import torch
    import transformers

    tokenizer = bytes_tokenizer() if letters else words_tokenizer(pad=pad)
    path = home() / f"model-{len(list(home().iterdir()))}"
    config = getattr(transformers, f"{kind}Config")(
        **{**SIZE, **options}, vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(1)
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    if ends:
        model.generation_config.eos_token_id = [tokenizer.eos_token_id, *ends]
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@functools.cache
def judge_folder() -> Path:
    """A sequence classifier with one output and a tokenizer of its own, which has a token for padding."""
    import torch
    from transformers import Qwen3Config, Qwen3ForSequenceClassification

    tokenizer = words_tokenizer(pad="<|pad|>")
    torch.manual_seed(2)
    config = Qwen3Config(**SIZE, vocab_size=len(tokenizer), num_labels=1, pad_token_id=tokenizer.pad_token_id)
    path = home() / "judge"
    Qwen3ForSequenceClassification(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def loaded(path: Path, dtype: str = "float32") -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype)


def text() -> dict[str, Any]:
    """The model of most rows: a folder, as hub ids are given."""
    return {"model": str(folder())}


def rows_of(prompts: list[Any], **columns: list[Any]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict({"prompt": prompts, **columns})


def words(index: int) -> str:
    """A prompt of one to four words, different for each index."""
    return " ".join(WORDS[(index * 5 + place * 7) % 24] for place in range(1 + index % 4))


def prompts() -> Any:
    return rows_of([words(index) for index in range(12)])


def chats() -> Any:
    return rows_of([[{"role": "user", "content": words(index)}] for index in range(12)])


def spoken(completion: Any) -> list[str]:
    """The words of a completion, which is text or a list of messages."""
    return (completion if isinstance(completion, str) else completion[0]["content"]).split()


def distinct(completions: Any, **columns: Any) -> list[float]:
    """Reward different words."""
    return [float(len(set(spoken(one)))) for one in completions]


def early(completions: Any, **columns: Any) -> list[float]:
    """Reward words from the beginning of the list of words."""
    return [sum(24.0 - int(word[1:]) for word in spoken(one)) / 24 for one in completions]
