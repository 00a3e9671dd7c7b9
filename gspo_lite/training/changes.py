"""Reports settings that Unsloth or TRL changed. A change of the objective stops the run; the user is told of others."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

from gspo_lite.errors import MachineError

# Settings of the objective, with the name of the trainer's own copy where it has one.
OBJECTIVE = {
    "importance_sampling_level": "importance_sampling_level", "loss_type": "loss_type", "epsilon": "epsilon_low",
    "epsilon_high": "epsilon_high", "delta": "", "beta": "beta", "scale_rewards": "scale_rewards",
    "mask_truncated_completions": "mask_truncated_completions", "use_bias_correction_kl": "",
    "num_generations": "num_generations", "num_iterations": "num_iterations", "reward_weights": "",
}  # fmt: skip
SIZES = (
    "per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "generation_batch_size",
    "learning_rate", "max_steps", "max_completion_length", "temperature", "top_p", "top_k", "min_p",
    "repetition_penalty", "optim", "lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm", "seed",
    "bf16", "fp16", "gradient_checkpointing", "use_vllm", "vllm_mode", "vllm_importance_sampling_mode",
    "vllm_importance_sampling_correction",
)  # fmt: skip


def settings_of(args: Any) -> dict[str, Any]:
    """Return the current values of the watched settings."""
    there = {field.name for field in dataclasses.fields(args)}
    return {name: plain(getattr(args, name)) for name in (*OBJECTIVE, *SIZES) if name in there}


def plain(value: Any) -> Any:
    """Return the value of an enum member, and a copy of a list or tuple."""
    value = value.value if isinstance(value, Enum) else value
    return list(value) if isinstance(value, list | tuple) else value


def changed(wanted: dict[str, Any], trainer: Any) -> dict[str, tuple[Any, Any]]:
    """Return each watched setting that the trainer changed: name -> (given, used)."""
    used, weights = settings_of(trainer.args), "reward_weights"
    if wanted.get(weights) is not None:  # those of what environments pay follow the recipe's
        used[weights] = used[weights][: len(wanted[weights])]
    found = {name: (value, used[name]) for name, value in wanted.items() if used.get(name, value) != value}
    for name, own in OBJECTIVE.items():
        if own and wanted.get(name) is not None and hasattr(trainer, own) and name not in found:
            value = plain(getattr(trainer, own))
            if value != wanted[name]:
                found[name] = (wanted[name], value)
    return found


def refuse_or_tell(found: dict[str, tuple[Any, Any]]) -> list[str]:
    """Return one line per change for the user.

    Raises:
        MachineError: a setting of the objective changed.
    """
    lines = [f"`{name}` was given as {given!r} and is used as {used!r}" for name, (given, used) in found.items()]
    decisive = [line for line, name in zip(lines, found, strict=True) if name in OBJECTIVE]
    if decisive:
        raise MachineError(
            f"the installed trainer changes what would be optimized: {'; '.join(decisive)}",
            "set the recipe to the value it uses, or set model.backend=transformers",
        )
    return lines
