"""Translates a recipe to the command line of verl, with a list of what does not carry over.

Keys, types and units are those of `main_ppo` in one release; tests/export/test_verl.py composes that release's own
configuration with them. Must not run anything; imports nothing heavy.
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from typing import Any

from gspo_lite.errors import UsageError
from gspo_lite.models import smollm2
from gspo_lite.models.gguf_file import is_gguf
from gspo_lite.models.names import STARTERS
from gspo_lite.recipe.schema import Recipe

ACTOR, ROLLOUT, MODEL, REFERENCE = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model", "ref"))
RELEASE = "0.9.1"
LOSS_TYPES = {
    "grpo": "seq-mean-token-mean", "bnpo": "token-mean", "dapo": "token-mean", "dr_grpo": "seq-mean-token-sum-norm",
}  # fmt: skip
SCHEDULES = {"constant": "constant", "constant_with_warmup": "constant", "cosine": "cosine"}
NO_BOUND = 1e9  # verl's vanilla loss bounds ratios of negative advantages, at 3 by default
PLAIN = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z][\w./-]*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Handover:
    """verl's settings, and one line for each part of the recipe that does not carry over."""

    settings: dict[str, Any]
    left_behind: list[str]


def to_verl(recipe: Recipe, gpus: int = 8) -> Handover:
    """Return the recipe in verl's settings, for one machine with this number of GPUs.

    verl counts prompts where TRL counts completions. One step of its trainer and learning rate is a rollout.

    Raises:
        UsageError: an optimizer step cannot be split into whole groups, or into equal shares for the GPUs.
    """
    training, generation = recipe.training, recipe.generation
    per_update = training.per_device_train_batch_size * training.gradient_accumulation_steps
    for size, parts in ((generation.num_generations, "groups of {}"), (gpus, "equal shares for {} GPUs")):
        if per_update % size:
            raise UsageError(
                f"an optimizer step has {per_update} completions, which cannot be split into {parts.format(size)}",
                "--gpus and num_generations must each divide per_device_train_batch_size x gradient_accumulation_steps",
            )
    updates = training.steps_per_generation // training.gradient_accumulation_steps * training.num_iterations
    rollouts = max(training.max_steps // updates, 1)
    micro_batch = math.gcd(training.per_device_train_batch_size, per_update // gpus)  # divides a GPU's share
    settings = {
        "data.train_files": "train.parquet", "data.val_files": "test.parquet",
        "data.train_batch_size": training.rollout_size // generation.num_generations,
        "data.max_prompt_length": generation.max_prompt_length,
        "data.max_response_length": generation.max_completion_length,
        "data.filter_overlong_prompts": True, "data.seed": training.seed,
        **objective_of(recipe),
        f"{ACTOR}.ppo_mini_batch_size": per_update // generation.num_generations,
        f"{ACTOR}.ppo_micro_batch_size_per_gpu": micro_batch,
        f"{ACTOR}.ppo_epochs": training.num_iterations,
        f"{ACTOR}.optim.lr": training.learning_rate, f"{ACTOR}.optim.weight_decay": training.weight_decay,
        f"{ACTOR}.optim.lr_warmup_steps": math.ceil(training.warmup_steps / updates),
        f"{ACTOR}.optim.lr_scheduler_type": SCHEDULES.get(training.lr_scheduler_type, "constant"),
        f"{ACTOR}.optim.clip_grad": training.max_grad_norm,
        **model_of(recipe),
        f"{REFERENCE}.log_prob_micro_batch_size_per_gpu": micro_batch,
        f"{ROLLOUT}.name": "vllm", f"{ROLLOUT}.seed": training.seed, f"{ROLLOUT}.n": generation.num_generations,
        f"{ROLLOUT}.temperature": generation.temperature,
        f"{ROLLOUT}.top_p": generation.top_p, f"{ROLLOUT}.top_k": generation.top_k or -1,
        f"{ROLLOUT}.tensor_model_parallel_size": 1,
        f"{ROLLOUT}.gpu_memory_utilization": recipe.model.gpu_memory_utilization,
        f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu": micro_batch,
        "reward.custom_reward_function.path": "reward.py", "reward.custom_reward_function.name": "compute_score",
        "trainer.n_gpus_per_node": gpus, "trainer.nnodes": 1,
        "trainer.logger": ["console", *(one for one in recipe.output.report_to if one != "none")],
        "trainer.total_training_steps": rollouts,
        "trainer.total_epochs": rollouts,  # never ends the run first: an epoch has a step or more
        "trainer.save_freq": max(training.save_steps // updates, 1) if training.save_steps else -1,
        "trainer.test_freq": max(training.eval_steps // updates, 1) if training.eval_steps else -1,
    }  # fmt: skip
    return Handover(settings, left_behind(recipe))


def objective_of(recipe: Recipe) -> dict[str, Any]:
    """Return the settings of the objective."""
    objective = recipe.objective
    return {
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": objective.scale_rewards != "none",
        f"{ACTOR}.policy_loss.loss_mode": "vanilla" if objective.algorithm == "grpo" else "gspo",
        f"{ACTOR}.loss_agg_mode": LOSS_TYPES.get(objective.resolved_loss_type, LOSS_TYPES["grpo"]),
        f"{ACTOR}.clip_ratio_low": objective.epsilon,
        f"{ACTOR}.clip_ratio_high": objective.epsilon_high or objective.epsilon,
        f"{ACTOR}.clip_ratio_c": objective.delta or NO_BOUND,
        f"{ACTOR}.use_kl_loss": objective.beta > 0, f"{ACTOR}.kl_loss_coef": objective.beta,
        f"{ACTOR}.kl_loss_type": "low_var_kl",
    }  # fmt: skip


def model_of(recipe: Recipe) -> dict[str, Any]:
    """Return the settings of the model and its adapter; rank 0 means no adapter."""
    model = recipe.model
    return {
        f"{MODEL}.path": smollm2.HUB_ID if model.name == smollm2.NAME else model.name,
        f"{MODEL}.trust_remote_code": model.trust_remote_code,
        f"{MODEL}.enable_gradient_checkpointing": recipe.training.gradient_checkpointing,
        f"{MODEL}.lora_rank": 0 if model.full_finetuning else model.lora.rank,
        f"{MODEL}.lora_alpha": model.lora.alpha,
        f"{MODEL}.target_modules": model.lora.target_modules,
        f"{ROLLOUT}.load_format": "dummy" if model.full_finetuning else "safetensors",
    }


def left_behind(recipe: Recipe) -> list[str]:
    """Return the parts of the recipe that do not carry over, one line each."""
    model, objective, generation, training = recipe.model, recipe.objective, recipe.generation, recipe.training
    names = ", ".join(f"{one.name} x {one.weight:g}" for one in recipe.rewards)
    found = {
        f"rewards ({names}): write compute_score(data_source, solution_str, ground_truth, extra_info) into reward.py; "
        "gspo_lite.rewards.math.grade(text, gold, marker) grades one text": True,
        f"data (`{recipe.data.source}`, style {recipe.data.prompt}): write train.parquet and test.parquet with prompt "
        "(a list of messages), data_source, reward_model.ground_truth and extra_info": True,
        f"model.name `{model.name}`: name a hub model or a folder": model.name in STARTERS or is_gguf(model.name),
        "model.adapter: set actor_rollout_ref.model.lora_adapter_path to its folder": model.adapter is not None,
        "model.chat_template_kwargs: see data.apply_chat_template_kwargs": bool(model.chat_template_kwargs),
        "weights in 4 or 8 bits: verl trains LoRA on 16-bit weights": bool(model.narrow),
        "credit and advantages per token: verl's grpo estimator gives all tokens of a completion the same": (
            objective.algorithm == "gspo_token"
        ),
        f"objective.loss_type `{objective.loss_type}`": objective.resolved_loss_type not in LOSS_TYPES,
        "objective.delta, the two-sided clip": objective.delta is not None and objective.algorithm != "grpo",
        "objective.scale_rewards `batch`: divided by the group's deviation": objective.scale_rewards == "batch",
        "objective.mask_truncated_completions": objective.mask_truncated_completions,
        "objective.use_bias_correction_kl": objective.use_bias_correction_kl and objective.beta > 0,
        "generation.sample_factor: see data.gen_batch_size and algorithm.filter_groups": generation.sample_factor > 1,
        "generation.min_p": generation.min_p is not None,
        "generation.repetition_penalty": generation.repetition_penalty != 1,
        f"training.lr_scheduler_type `{training.lr_scheduler_type}`": training.lr_scheduler_type not in SCHEDULES,
        f"training.optim `{training.optim}`: verl's AdamW": training.optim != "adamw_torch",
        "training.extra": bool(training.extra),
        "the supervised warm-up": recipe.warmup is not None,
        "the correction for the sampler's log-probs: see algorithm.rollout_correction": True,
        "output.keep_best": recipe.output.keep_best,
        "training.stop_early": training.stop_early is not None,
        "evaluation before and after with intervals, guards, report, exact resuming": True,
    }
    return [line for line, applies in found.items() if applies]


def as_script(handover: Handover, recipe_name: str) -> str:
    """Return a shell script that starts verl."""
    head = [
        "#!/usr/bin/env bash",
        f"# {recipe_name} for main_ppo of verl {RELEASE}. Not tested by gspo-lite: try it for a few steps first.",
        "# Counts are in prompts, and a training step is a whole rollout.",
        "#", "# What does not carry over:", *(f"#   - {line}" for line in handover.left_behind), "",
    ]  # fmt: skip
    comments = ("".join(one if one.isprintable() else " " for one in line) for line in head)  # a line break ends one
    lines = [f"    {shlex.quote(f'{key}={spelled(value)}')}" for key, value in handover.settings.items()]
    return "\n".join(comments) + "\npython3 -m verl.trainer.main_ppo \\\n" + " \\\n".join(lines) + ' \\\n    "$@"\n'


def spelled(value: Any) -> str:
    """Return a value as Hydra's command line reads it; text that is not a plain word goes into double quotes."""
    if isinstance(value, list):
        return f"[{','.join(spelled(one) for one in value)}]"
    if not isinstance(value, str) or PLAIN.fullmatch(value):
        return str(value)
    literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)  # otherwise an interpolation
    escaped = re.sub(r'(\\+)(?="|\Z)', r"\1\1", literal).replace('"', '\\"')
    return f'"{escaped}"'
