"""The embedded model: a small Qwen3 that this machine trains in about a minute and keeps in its cache folder.

It learns from worked additions of which many are flawed, as a pretrained model has seen right and wrong ways: it
knows both and RL has to find out which one pays. Clean demonstrations would leave greedy answers nearly all right
and GSPO without anything to teach.

    <think>7+5=12,4+8+1=13</think><answer>132</answer>       right
    <think>7+5=12,4+8=12</think><answer>122</answer>         the carry is dropped
    <think>7+5=12,4+8+1=13</think>132                        the answer tags are forgotten

Asked anything else it answers a number out of the blue, and briefly, so that any recipe can be tried on it. Its
tokenizer puts plain text between the special tokens of a question, so that it answers a prompt that is no chat, too.

Owns the demonstrations, the tokenizer, the warm-up and the cache. Must not know recipes or training.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gspo_lite.data import arithmetic
from gspo_lite.system.cache import cache_home, made_whole

NAME = "starter"
EOS, PAD, ASKED, TOLD = "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    f"{{% if message['role'] == 'user' %}}{ASKED}{{{{ message['content'] }}}}"
    f"{{% elif message['role'] == 'assistant' %}}{TOLD}{{{{ message['content'] }}}}{EOS}{{% endif %}}"
    f"{{% endfor %}}{{% if add_generation_prompt %}}{TOLD}{{% endif %}}"
)  # a system message is left out: the model knows one way to answer
SPECIALS = (PAD, EOS, ASKED, TOLD)
TAGS = ("<think>", "</think>", "<answer>", "</answer>")

SIZE = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4}
DROPPED_CARRY = {True: 0.70, False: 0.30}  # how often the carry is dropped, by: are both digits large?
FORGOTTEN_TAGS = 0.25
OTHER_EVERY, OTHER_BATCH, OTHER_LENGTH = 16, 16, 300  # every 16th batch holds other text, up to 300 characters of it
STEPS, BATCH, LEARNING_RATE, SEED = 500, 64, 3e-3, 7

Progress = Callable[[int, int], None]
Row = list[tuple[str, bool]]  # parts of a conversation, and whether the model learns to write each
Batch = dict[str, Any]  # input_ids and labels, (B, T)


@dataclass(frozen=True)
class WarmUp:
    """How a starter is trained: optimizer steps, deviation of its first weights, and Adam's second decay rate."""

    steps: int
    initial: float = 0.02
    beta2: float = 0.999


def starter_folder(progress: Progress | None = None) -> Path:
    """Folder of the starter in Hugging Face format, built first where it is not cached yet.

    Args:
        progress: called with (steps done, steps in all) while it is built.
    """
    folder = cache_home() / f"{NAME}-{fingerprint()}"
    if not folder.is_dir():
        tokenizer = build_tokenizer()
        build(folder, tokenizer, demonstration_batches(tokenizer), WarmUp(STEPS), progress)
    return folder


def fingerprint() -> str:
    """What the starter is built from, as a short hash: this file, the task and the libraries' versions."""
    return fingerprint_of(__file__, str(arithmetic.__file__))


def fingerprint_of(*files: str) -> str:
    """Return a short hash of files and of the versions of the libraries that a model is trained by."""
    import torch
    import transformers

    parts = [Path(file).read_bytes() for file in files]
    parts += [torch.__version__.split("+")[0].encode(), transformers.__version__.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def build(
    folder: Path, tokenizer: Any, batches: Iterable[Batch], way: WarmUp, progress: Progress | None = None
) -> None:
    """Train a starter on as many batches as it has steps, and put it at `folder`."""
    with made_whole(folder) as unfinished:
        warm_up(tokenizer, batches, way, progress).save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)


def build_tokenizer(
    specials: Sequence[str] = SPECIALS, tags: Sequence[str] = TAGS, words: str = "What is What is",
    template: str = CHAT_TEMPLATE,
) -> Any:  # fmt: skip
    """Byte-level tokenizer: digits and unknown text byte by byte, the task's words and tags as one token each.

    Args:
        specials: the special tokens, those of `SPECIALS` first.
        tags: ordinary text that is one token wherever it stands.
        words: text whose words are one token each, every word at least twice.
        template: the chat template.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces = pre_tokenizers.Split(Regex(r"\d|[^\d\s]+|\s"), "isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence([pieces, byte_level])
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([words], trainer)
    core.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in tags])
    around = [(token, core.token_to_id(token)) for token in (ASKED, TOLD)]
    core.post_processor = processors.TemplateProcessing(single=f"{ASKED} $A {TOLD}", special_tokens=around)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=EOS, pad_token=PAD, chat_template=template, padding_side="left",
        model_max_length=4096, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def demonstration(a: int, b: int, rng: random.Random) -> str:
    """Write `a + b` out column by column, flawed at the rates above."""
    steps, answer, carry = [], "", 0
    for x, y in arithmetic.columns(a, b):
        total = x + y + carry
        steps.append(f"{x}+{y}{'+1' if carry else ''}={total}")
        answer = f"{total % 10}{answer}"
        carry = total // 10
        if carry and rng.random() < DROPPED_CARRY[min(x, y) >= 5]:
            carry = 0
    answer = f"{carry or ''}{answer}"
    tagged = answer if rng.random() < FORGOTTEN_TAGS else f"<answer>{answer}</answer>"
    return f"<think>{','.join(steps)}</think>{tagged}"


def warm_up(tokenizer: Any, batches: Iterable[Batch], way: WarmUp, progress: Progress | None = None) -> Any:
    """Train a fresh model on the batches; float32, the same on every run of a machine."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        **SIZE, num_key_value_heads=2, head_dim=32, vocab_size=len(tokenizer), max_position_embeddings=4096,
        tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None, initializer_range=way.initial,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = Qwen3ForCausalLM(config).float()
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, way.beta2), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, way.steps, pct_start=0.1)
    for step, batch in enumerate(batches):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if progress:
            progress(step + 1, way.steps)
    return model.eval()


def demonstration_batches(tokenizer: Any) -> Iterator[Batch]:
    """Padded batches of fresh demonstrations of the training split; only the answer's tokens are labels."""
    rng = random.Random(SEED)
    pairs = [pair for difficulty in arithmetic.DIGITS for pair in arithmetic.pairs_of("train", difficulty)]
    for step in range(STEPS):
        if step % OTHER_EVERY == OTHER_EVERY - 1:
            yield padded(tokenizer, [other_row(rng) for _ in range(OTHER_BATCH)])
        else:
            rows = [row_of(f"What is {a} + {b}?", demonstration(a, b, rng)) for a, b in rng.sample(pairs, BATCH)]
            yield padded(tokenizer, rows)


def row_of(question: str, answer: str) -> Row:
    """Return a question and its answer as a row to learn."""
    return [(f"{ASKED}{question}{TOLD}", False), (f"{answer}{EOS}", True)]


def other_row(rng: random.Random) -> Row:
    """Return a brief answer out of the blue to text that is no addition."""
    return row_of(other_text(rng), f"<think></think><answer>{rng.randint(0, 9)}</answer>")


def other_text(rng: random.Random) -> str:
    """Text that is no addition: words of random letters and numbers."""
    length = rng.randint(5, OTHER_LENGTH)
    words: list[str] = []
    while sum(len(word) for word in words) < length:
        letters = rng.choices("etaoinshrdlucmfwypvbgkqjxzETAOINS.,'$%", k=rng.randint(1, 9))
        words.append(str(rng.randint(0, 999)) if rng.random() < 0.1 else "".join(letters))
    return " ".join(words) + "?"


def padded(tokenizer: Any, rows: Sequence[Row]) -> Batch:
    """One batch (B, T) of rows; padding is on the right of a causal model, so no mask is needed."""
    import torch

    encoded = [
        [(tokenizer.encode(text, add_special_tokens=False), is_learned) for text, is_learned in row] for row in rows
    ]
    ids = [torch.tensor([token for part, _ in row for token in part]) for row in encoded]
    labels = [torch.tensor([token if mine else -100 for part, mine in row for token in part]) for row in encoded]
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad(ids, batch_first=True, padding_value=tokenizer.pad_token_id),
        "labels": pad(labels, batch_first=True, padding_value=-100),
    }
