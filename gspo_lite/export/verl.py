"""A recipe as the command line of a larger engine, with what does not carry over said beside it.

Key names and units are those of verl's `main_ppo` (verl-project/verl, `_generated_ppo_trainer.yaml` at 01d4d766); they
move between its versions. Owns the translation. Must not run anything; imports nothing heavy.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from gspo_lite.errors import UsageError
from gspo_lite.recipe.schema import Recipe

ACTOR, ROLLOUT, MODEL = "actor_rollout_ref.actor", "actor_rollout_ref.rollout", "actor_rollout_ref.model"
SOURCE = "verl-project/verl at 01d4d766"
LOSS_TYPES = {
    "grpo": "seq-mean-token-mean", "bnpo": "token-mean", "dapo": "token-mean", "dr_grpo": "seq-mean-token-sum-norm",
}  # fmt: skip
SCHEDULES = {"constant": "constant", "constant_with_warmup": "constant", "cosine": "cosine"}


@dataclass(frozen=True)
class Handover:
    """Settings of the engine, and one line for each thing that stays behind."""

    settings: dict[str, Any]
    left_behind: list[str]


def to_verl(recipe: Recipe, gpus: int = 8) -> Handover:
    """The recipe in verl's settings.

    verl counts prompts where TRL counts completions, and a step of its trainer is a rollout with all of its updates.

    Raises:
        UsageError: where an optimizer step does not hold whole groups, which verl cannot do.
    """
    training, generation = recipe.training, recipe.generation
    per_update = training.per_device_train_batch_size * training.gradient_accumulation_steps
    if per_update % generation.num_generations:
        raise UsageError(
            f"an optimizer step has {per_update} completions, no whole groups of {generation.num_generations}",
            "verl counts in prompts: make per_device_train_batch_size x gradient_accumulation_steps a multiple of it",
        )
    updates = training.steps_per_generation // training.gradient_accumulation_steps * training.num_iterations
    settings = {
        "data.train_files": "train.parquet",
        "data.val_files": "test.parquet",
        "data.train_batch_size": training.rollout_size // generation.num_generations,
        "data.max_prompt_length": generation.max_prompt_length,
        "data.max_response_length": generation.max_completion_length,
        "data.filter_overlong_prompts": True,
        "data.seed": training.seed,
        **objective_of(recipe),
        f"{ACTOR}.ppo_mini_batch_size": per_update // generation.num_generations,
        f"{ACTOR}.ppo_micro_batch_size_per_gpu": training.per_device_train_batch_size,
        f"{ACTOR}.ppo_epochs": training.num_iterations,
        f"{ACTOR}.optim.lr": training.learning_rate,
        f"{ACTOR}.optim.weight_decay": training.weight_decay,
        f"{ACTOR}.optim.lr_warmup_steps": training.warmup_steps,
        f"{ACTOR}.optim.lr_scheduler_type": SCHEDULES.get(training.lr_scheduler_type, "constant"),
        f"{ACTOR}.grad_clip": training.max_grad_norm,
        **model_of(recipe),
        f"{ROLLOUT}.name": "vllm",
        f"{ROLLOUT}.n": generation.num_generations,
        f"{ROLLOUT}.temperature": generation.temperature,
        f"{ROLLOUT}.top_p": generation.top_p,
        f"{ROLLOUT}.top_k": generation.top_k or -1,
        f"{ROLLOUT}.tensor_model_parallel_size": 1,
        f"{ROLLOUT}.gpu_memory_utilization": recipe.model.gpu_memory_utilization,
        f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu": training.per_device_train_batch_size,
        "reward.custom_reward_function.path": "reward.py",
        "reward.custom_reward_function.name": "compute_score",
        "trainer.critic_warmup": 0,
        "trainer.n_gpus_per_node": gpus,
        "trainer.nnodes": 1,
        "trainer.total_training_steps": max(training.max_steps // updates, 1),
        "trainer.save_freq": max(training.save_steps // updates, 1) if training.save_steps else -1,
    }
    return Handover(settings, list(left_behind(recipe)))


def objective_of(recipe: Recipe) -> dict[str, Any]:
    """What is optimised."""
    objective = recipe.objective
    settings = {
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": objective.scale_rewards != "none",
        "algorithm.use_kl_in_reward": False,
        f"{ACTOR}.policy_loss.loss_mode": "vanilla" if objective.algorithm == "grpo" else "gspo",
        f"{ACTOR}.loss_agg_mode": LOSS_TYPES.get(objective.resolved_loss_type, LOSS_TYPES["grpo"]),
        f"{ACTOR}.clip_ratio": objective.epsilon,
        f"{ACTOR}.clip_ratio_low": objective.epsilon,
        f"{ACTOR}.clip_ratio_high": objective.epsilon_high or objective.epsilon,
        f"{ACTOR}.entropy_coeff": 0,
        f"{ACTOR}.use_kl_loss": objective.beta > 0,
    }
    if objective.beta > 0:
        settings |= {f"{ACTOR}.kl_loss_coef": objective.beta, f"{ACTOR}.kl_loss_type": "low_var_kl"}
    return settings


def model_of(recipe: Recipe) -> dict[str, Any]:
    """The model and its adapter."""
    model = recipe.model
    settings: dict[str, Any] = {
        f"{MODEL}.path": model.name,
        f"{MODEL}.trust_remote_code": model.trust_remote_code,
        f"{MODEL}.enable_gradient_checkpointing": recipe.training.gradient_checkpointing,
    }
    if not model.full_finetuning:
        targets = model.lora.target_modules
        settings |= {
            f"{MODEL}.lora_rank": model.lora.rank,
            f"{MODEL}.lora_alpha": model.lora.alpha,
            f"{MODEL}.target_modules": targets if isinstance(targets, str) else f"[{','.join(targets)}]",
            f"{ROLLOUT}.load_format": "safetensors",
        }
    return settings


def left_behind(recipe: Recipe) -> list[str]:
    """What verl does not take from the recipe, one line each."""
    model, objective, generation, training = recipe.model, recipe.objective, recipe.generation, recipe.training
    names = ", ".join(f"{one.name} x {one.weight:g}" for one in recipe.rewards)
    found = {
        f"rewards ({names}): write compute_score(data_source, solution_str, ground_truth, extra_info) into reward.py; "
        "gspo_lite.rewards.math.grade(text, gold, marker) grades one text": True,
        f"data (`{recipe.data.source}`, style {recipe.data.prompt}): write train.parquet and test.parquet with prompt "
        "(a list of messages), data_source, reward_model.ground_truth and extra_info": True,
        "model.name `starter`: name a model": model.name == "starter",
        "weights in 4 or 8 bits: verl trains LoRA on 16-bit weights": model.load_in_4bit or model.load_in_8bit,
        "credit and advantages per token: verl's grpo estimator gives every token of a completion the same": (
            objective.algorithm == "gspo_token"
        ),
        f"objective.loss_type `{objective.loss_type}`": objective.resolved_loss_type not in LOSS_TYPES,
        "objective.delta, the two-sided clip": objective.delta is not None,
        "objective.scale_rewards `batch`: divided by the group's deviation": objective.scale_rewards == "batch",
        "objective.mask_truncated_completions": objective.mask_truncated_completions,
        "objective.use_bias_correction_kl": objective.use_bias_correction_kl and objective.beta > 0,
        "generation.min_p": generation.min_p is not None,
        "generation.repetition_penalty": generation.repetition_penalty != 1,
        f"training.lr_scheduler_type `{training.lr_scheduler_type}`": training.lr_scheduler_type not in SCHEDULES,
        f"training.optim `{training.optim}`: verl's AdamW": training.optim != "adamw_torch",
        "training.extra": bool(training.extra),
        "the supervised warm-up": recipe.warmup is not None,
        "the correction for the sampler's log-probs: see algorithm.rollout_correction": True,
        "evaluation before and after with intervals, guards, report, exact resuming": True,
    }
    return [line for line, applies in found.items() if applies]


def as_script(handover: Handover, recipe_name: str) -> str:
    """A shell script that starts verl."""
    head = [
        "#!/usr/bin/env bash",
        f"# {recipe_name} for verl's main_ppo; keys of {SOURCE}. Not run by gspo-lite: try it for a few steps first.",
        "# Counts are in prompts, and a training step is a whole rollout.",
        "#",
        "# What does not carry over:",
        *(f"#   - {line}" for line in handover.left_behind),
        "",
    ]
    lines = [f"    {shlex.quote(f'{key}={spelled(value)}')}" for key, value in handover.settings.items()]
    return "\n".join(head) + "\npython3 -m verl.trainer.main_ppo \\\n" + " \\\n".join(lines) + ' \\\n    "$@"\n'


def spelled(value: Any) -> str:
    """A value as Hydra reads it."""
    return f"{value:g}" if isinstance(value, float) else str(value)
