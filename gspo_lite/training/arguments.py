"""Converts configuration and data that a Python user passes to `GSPOTrainer`, and refuses settings that cannot work."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainingArguments

from gspo_lite.errors import UsageError, did_you_mean
from gspo_lite.objective import LEVELS
from gspo_lite.recipe.check import GRPO_EPSILON_MIN, GSPO_EPSILON_MAX, OTHER_LOSSES, TOKEN_SUMMED
from gspo_lite.recipe.extra import OWN_LOSS, WITHOUT_OWN_LOSS, liger_has_own_loss
from gspo_lite.system.say import warn
from gspo_lite.training.config import GSPOConfig
from gspo_lite.training.loss.stock import LEVEL


def as_config(args: Any) -> GSPOConfig:
    """Return the arguments as a GSPOConfig: the paper's settings for None; a GRPOConfig keeps all its values."""
    if args is None:
        on_gpu = torch.cuda.is_available()
        return GSPOConfig(output_dir="gspo-output", use_cpu=not on_gpu, bf16=None if on_gpu else False)
    if isinstance(args, GSPOConfig):
        return args
    if not isinstance(args, TrainingArguments) or not hasattr(args, "num_generations"):
        raise UsageError(f"`args` is a {type(args).__name__}; allowed are a GSPOConfig and TRL's GRPOConfig")
    config = copy.copy(args)
    config.__class__ = GSPOConfig  # with its defaults; built anew, it would derive batch sizes a second time
    return config


def as_dataset(rows: Any, name: str = "train_dataset") -> Any:
    """Return a list of prompts or of rows as a data set; anything else unchanged."""
    if not isinstance(rows, list):
        return rows
    if not rows:
        raise UsageError(f"`{name}` is an empty list; it needs at least one prompt")
    return Dataset.from_list([row if isinstance(row, dict) else {"prompt": row} for row in rows])


def check_arguments(args: GSPOConfig, columns: Sequence[str] | None, *, strict: bool) -> None:
    """Refuse settings that cannot work; warn of those that make GSPO another method, or refuse them if `strict`.

    Args:
        columns: of the training data, None if they are not known.
    """
    if args.importance_sampling_level not in LEVELS:
        near = did_you_mean(args.importance_sampling_level, LEVELS)
        allowed = ", ".join(f"`{name}`" for name in LEVELS)
        raise UsageError(
            f"`importance_sampling_level` is `{args.importance_sampling_level}`{near}; allowed are {allowed}"
        )
    if args.importance_sampling_level == LEVEL and args.use_liger_kernel and liger_has_own_loss():
        raise UsageError(
            f"`use_liger_kernel`: {OWN_LOSS}",
            f"leave it off, use level `sequence`, or install trl {WITHOUT_OWN_LOSS} or later",
        )
    aggregation = getattr(args, "multi_objective_aggregation", "sum_then_normalize")
    if args.importance_sampling_level == LEVEL and aggregation != "sum_then_normalize":
        raise UsageError(
            f"advantages per token are defined for the sum of the rewards, not for `{aggregation}`",
            "set multi_objective_aggregation to `sum_then_normalize`, or use level `sequence`",
        )
    if args.use_transformers_continuous_batching and not {"image", "images"}.isdisjoint(columns or ()):
        raise UsageError(
            "`use_transformers_continuous_batching` generates from text alone: the model would not see the images",
            "leave it off, or generate by vLLM",
        )
    for doubt in doubts(args):
        if strict:
            raise UsageError(doubt)
        warn(doubt)


def doubts(args: GSPOConfig) -> Iterator[str]:
    """Yield what makes these settings another method than their level says, as `gspo-lite check` does for a recipe."""
    steps = args.steps_per_generation * args.num_iterations / args.gradient_accumulation_steps
    if args.importance_sampling_level == "token":
        if args.loss_type not in OTHER_LOSSES and args.epsilon < GRPO_EPSILON_MIN:
            yield f"`epsilon` {args.epsilon:g} is of GSPO's size: at level `token` nearly every token would be clipped"
        return
    if steps == 1:
        yield (
            "GSPO has no effect with one optimizer step per rollout: every ratio is 1 and the gradient is GRPO's; "
            f"set steps_per_generation to {4 * args.gradient_accumulation_steps}"
        )
    for name in ("epsilon", "epsilon_high"):
        value = getattr(args, name)
        if value is not None and value > GSPO_EPSILON_MAX:
            yield f"`{name}` {value:g} is of GRPO's size and never clips a sequence ratio; the paper uses 3e-4 and 4e-4"
    if args.loss_type in TOKEN_SUMMED:
        yield f"`{args.loss_type}` sums over tokens, so long completions outweigh short ones; `grpo` does not"
