"""The adapter that training begins with, where it has learned something: kept exact, and the reference of a KL penalty.

An adapter has learned something after a warm-up, or if it is continued from an earlier training. A new one changes
nothing yet, so that the base model is its reference and its random half may be rounded.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from accelerate.utils import is_peft_model

from gspo_lite.system.say import warn

ACTIVE, REFERENCE = "default", "ref"  # TRL computes the reference with the adapter of this name, if there is one


def learned_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return copies of the trained weights by name, if the model has an adapter that has learned something."""
    if isinstance(model, str) or not is_peft_model(model):
        return {}
    trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
    if not any(bool(one.any()) for name, one in trained.items() if ".lora_B." in name):
        return {}
    return {name: one.detach().clone() for name, one in trained.items()}


def restore(model: Any, weights: dict[str, torch.Tensor]) -> None:
    """Put weights back, in float32; TRL's trainers round those of a 4-bit model to bfloat16."""
    named = dict(model.named_parameters())
    for name, weight in weights.items():
        named[name].data = weight.to(named[name].device).float()


def keep_reference(trainer: Any, weights: dict[str, torch.Tensor]) -> None:
    """Let the KL penalty refer to the adapter that training begins with, on Unsloth's trainer as on TRL's.

    Unsloth takes out the lines by which TRL keeps a copy. Its vLLM is handed every adapter of the model as one, so that
    a second one cannot be there; that the base model is the reference then, is said.
    """
    model = trainer.model
    if not weights or trainer.beta == 0 or REFERENCE in model.peft_config:
        return
    if trainer.use_vllm:
        warn(
            "with vLLM inside Unsloth the KL penalty refers to the base model, not to the adapter training begins with",
            "set generation.engine to `transformers`, or objective.beta to 0",
        )
        return
    model.add_adapter(REFERENCE, copy.deepcopy(model.peft_config[ACTIVE]))
    named = dict(model.named_parameters())
    for name, weight in weights.items():
        named[name.replace(f".{ACTIVE}.", f".{REFERENCE}.")].data.copy_(weight)
