"""Checks a trainer's model and data: is there something to train, in a type that moves, and has it moved?"""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset

from gspo_lite.errors import UsageError
from gspo_lite.models.weights import keep_trainable_float32
from gspo_lite.system.say import warn


def refuse_frozen(model: Any) -> None:
    """Refuse a model without a trained parameter, such as a PeftModel loaded for inference."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError(
            "no parameter of `model` is trained",
            "load an adapter with PeftModel.from_pretrained(..., is_trainable=True), or pass a peft_config",
        )


def keep_adapter_float32(trainer: Any) -> None:
    """Keep an adapter in float32; leave a whole model as its user loaded it, since float32 may not fit."""
    if is_peft_model(trainer.model):
        keep_trainable_float32(trainer.model)
    elif any(p.requires_grad and p.dtype in (torch.bfloat16, torch.float16) for p in trainer.model.parameters()):
        warn(
            f"the trained weights are in 16 bits, where a step of {trainer.args.learning_rate:g} often rounds to none",
            "load the model in float32, or train an adapter",
        )


def sums_of_trained(model: Any) -> torch.Tensor:
    """Return the sum of each trained parameter; equal sums mean that no optimizer step has changed a weight."""
    trained = [parameter.detach() for parameter in model.parameters() if parameter.requires_grad]
    exact = torch.float32 if any(one.device.type == "mps" for one in trained) else torch.float64
    return torch.tensor([float(one.sum(dtype=exact)) for one in trained], dtype=torch.float64)


def refuse_plain_prompts(trainer: Any) -> None:
    """Refuse prompts that are plain text where there are tools: calls and results are messages of a conversation."""
    first: dict[str, Any] = next(iter(trainer.train_dataset), {}) if trainer.tools else {}
    if isinstance(first.get("prompt"), str):
        raise UsageError(
            "the prompts are plain text, but tools need conversations",
            'give each prompt as messages: [{"role": "user", "content": "..."}]',
        )


def refuse_too_few_prompts(trainer: Any) -> None:
    """Refuse data that cannot fill one rollout: TRL would silently take no step."""
    rows, needed = trainer.train_dataset, trainer.args.prompts_per_rollout
    if isinstance(rows, Dataset) and len(rows) < needed:
        raise UsageError(
            f"`train_dataset` has {len(rows)} prompts, but a rollout needs {needed}",
            "lower per_device_train_batch_size, steps_per_generation or sample_factor, or add prompts",
        )
