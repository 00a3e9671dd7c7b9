"""Which data and which models are taken."""

from __future__ import annotations

from typing import Any

from tests.training.trl_behaviours import parts
from tests.training.trl_behaviours.behaviour import Behaviour

BFLOAT16 = "a prompt is computed once for its group, each row at its own length, and bfloat16 rounds these otherwise"


def with_system() -> Any:
    return parts.rows_of([[{"role": "system", "content": "w3"}, *row["prompt"]] for row in parts.chats()])


def long_talk() -> Any:
    turns = [{"role": "user", "content": "w1 w2"}, {"role": "assistant", "content": "w5"}]
    return parts.rows_of([[*turns, *row["prompt"]] for row in parts.chats()])


def stream() -> Any:
    return parts.prompts().to_iterable_dataset()


def kind(name: str, **options: Any) -> Any:
    return lambda: {"model": str(parts.folder(name, **options))}


def instance() -> dict[str, Any]:
    return {"model": parts.loaded(parts.folder()), "processing_class": parts.words_tokenizer()}


def sixteen_bits() -> dict[str, Any]:
    return {"model": parts.loaded(parts.folder(), "bfloat16")}


def padding_on_the_right() -> dict[str, Any]:
    tokenizer = parts.words_tokenizer()
    tokenizer.padding_side = "right"
    return {"model": str(parts.folder()), "processing_class": tokenizer}


def dtypes(trainer: Any) -> Any:
    trainer.train()
    return sorted({str(p.dtype) for p in trainer.model.parameters()})


def padding(trainer: Any) -> Any:
    return trainer.processing_class.pad_token_id, trainer.model.config.pad_token_id, trainer.eos_token_ids


DATA = [
    Behaviour("prompts as text", plain=True, quick=True),
    Behaviour("prompts as conversations", rows=parts.chats, quick=True),
    Behaviour("conversations with a system message", rows=with_system),
    Behaviour("conversations of several turns", rows=long_talk),
    Behaviour("an `IterableDataset`", rows=stream),
    Behaviour("an `IterableDataset` without `max_steps`", {"max_steps": -1}, rows=stream, raises="ValueError"),
    Behaviour(
        "`train_dataset` as a list",
        rows=lambda: ["w1", "w2 w3", "w4"],
        unlike=("error",),
        reason="a list of prompts or of rows is taken as data; TRL refuses it",
        raises="TypeError",
    ),
    Behaviour("`train_dataset` left out", rows=lambda: None, raises="ValueError"),
    Behaviour(
        "`remove_unused_columns`",
        {"remove_unused_columns": True},
        rows=lambda: parts.prompts().add_column("level", [1] * 12),
        plain=True,
    ),
    Behaviour(
        "data without a column `prompt`",
        rows=lambda: parts.prompts().rename_column("prompt", "question"),
        raises="KeyError",
    ),
]
MODELS = [
    Behaviour("a model by the name of its folder, tokenizer left out", act=padding),
    Behaviour("a loaded model and a tokenizer", model=instance, plain=True),
    Behaviour("a tokenizer with a token for padding", model=kind("Qwen3", pad="<|pad|>"), act=padding),
    Behaviour("a tokenizer that pads on the right", model=padding_on_the_right, plain=True),
    *(Behaviour(f"a {name} model", model=kind(name)) for name in ("Llama", "Mistral", "Gemma2")),
    Behaviour("tied embeddings", model=kind("Qwen3", tie_word_embeddings=True)),
    Behaviour("several tokens end a completion", model=kind("Qwen3", ends=(9, 10, 11, 12, 13))),
    Behaviour(
        "`model_init_kwargs`",
        {"model_init_kwargs": {"dtype": "bfloat16"}},
        act=dtypes,
        unlike=("training",),
        reason=BFLOAT16,
    ),
    Behaviour("`model_init_kwargs` with a loaded model", {"model_init_kwargs": {"dtype": "float32"}}, model=instance),
    Behaviour("a model in bfloat16", model=sixteen_bits, act=dtypes, unlike=("training",), reason=BFLOAT16),
    Behaviour("`bf16` autocast", {"bf16": True}, act=dtypes, unlike=("training",), reason=BFLOAT16),
    Behaviour("`cast_lm_head_to_fp32`", {"cast_lm_head_to_fp32": True}, act=dtypes),
    Behaviour(
        "`cast_lm_head_to_fp32` of a model in bfloat16",
        {"cast_lm_head_to_fp32": True},
        model=sixteen_bits,
        act=dtypes,
        unlike=("training",),
        reason=BFLOAT16,
    ),
    Behaviour("`gradient_checkpointing`", {"gradient_checkpointing": True}, plain=True),
    Behaviour("a processing class of another kind", options=lambda: {"processing_class": object()}, raises="TypeError"),
]
