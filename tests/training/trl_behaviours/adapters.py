"""Adapters: made by the trainer or before, quantised models, the reference without the adapter."""

from __future__ import annotations

from typing import Any

from tests.training.trl_behaviours import parts
from tests.training.trl_behaviours.behaviour import Behaviour
from tests.training.trl_behaviours.data_and_models import BFLOAT16

MASKS = (
    "no row is computed that teaches nothing, and no log-probs that are equal to others, so dropout draws other masks"
)
FROZEN = "refused at once as a model of which nothing is trained (UsageError); TRL fails at the first backward pass"
FLOAT32 = "adapters stay in float32; TRL turns them to bfloat16, in which steps of usual size round to nothing"


def lora(**options: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(**{"r": 4, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False, **options})


def with_adapter(**options: Any) -> Any:
    return lambda: {"peft_config": lora(**options)}


def wrapped() -> dict[str, Any]:
    import torch
    from peft import get_peft_model

    torch.manual_seed(3)
    return {"model": get_peft_model(parts.loaded(parts.folder()), lora()), "processing_class": parts.words_tokenizer()}


def frozen() -> dict[str, Any]:
    parts_of_it = wrapped()
    parts_of_it["model"].requires_grad_(False)
    return parts_of_it


def four_bit() -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_4bit=True)


def quantised() -> dict[str, Any]:
    return {"quantization_config": four_bit(), "peft_config": lora()}


def tensors(trainer: Any) -> Any:
    """Train; what is trained, and in which type."""
    trainer.train()
    return sorted((name, str(p.dtype)) for name, p in trainer.model.named_parameters() if p.requires_grad)


ADAPTERS = [
    Behaviour("`peft_config`", options=with_adapter(), act=tensors, quick=True),
    Behaviour("`peft_config` with fresh weights", options=with_adapter(init_lora_weights=True), act=tensors),
    Behaviour("`peft_config` with dropout", options=with_adapter(lora_dropout=0.3), unlike=("training",), reason=MASKS),
    Behaviour("`peft_config` and `disable_dropout`", {"disable_dropout": True}, options=with_adapter(lora_dropout=0.3)),
    Behaviour("`peft_config` and `gradient_checkpointing`", {"gradient_checkpointing": True}, options=with_adapter()),
    Behaviour("`peft_config` and `beta`", {"beta": 0.1}, options=with_adapter()),
    Behaviour("`modules_to_save`", options=with_adapter(modules_to_save=["lm_head"]), act=tensors),
    Behaviour(
        "`peft_config` of a model in bfloat16",
        {"model_init_kwargs": {"dtype": "bfloat16"}},
        options=with_adapter(),
        act=tensors,
        unlike=("training",),
        reason=BFLOAT16,
    ),
    Behaviour("a `PeftModel`", model=wrapped, act=tensors),
    Behaviour("a `PeftModel` and `beta`", {"beta": 0.1}, model=wrapped, act=tensors),
    Behaviour("a `PeftModel` and a `peft_config`", model=wrapped, options=with_adapter(), raises="ValueError"),
    Behaviour(
        "a `PeftModel` whose adapter is frozen",
        model=frozen,
        ours="UsageError",
        unlike=("error",),
        reason=FROZEN,
        raises="RuntimeError",
    ),
    Behaviour("`peft_config` of another kind", options=lambda: {"peft_config": {"r": 4}}, raises="TypeError"),
    Behaviour(
        "`sync_ref_model` with an adapter",
        {"beta": 0.1, "sync_ref_model": True},
        options=with_adapter(),
        raises="NotImplementedError",
    ),
    Behaviour(
        "`quantization_config` in four bits",
        options=quantised,
        act=tensors,
        unlike=("found", "training"),
        reason=FLOAT32,
    ),
    Behaviour(
        "`quantization_config` given twice",
        {"model_init_kwargs": {"quantization_config": None}},
        options=quantised,
        raises="ValueError",
    ),
    Behaviour(
        "`cast_lm_head_to_fp32` with an adapter on the head",
        {"cast_lm_head_to_fp32": True},
        options=with_adapter(target_modules=["lm_head"]),
        raises="ValueError",
    ),
]
