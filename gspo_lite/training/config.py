"""GSPOConfig: TRL's GRPOConfig with the GSPO paper's defaults, and the mapping from a recipe to its fields."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import torch
import trl
from trl import GRPOConfig

from gspo_lite.errors import RecipeError, did_you_mean
from gspo_lite.models.weights import has_bfloat16
from gspo_lite.recipe.extra import has_server
from gspo_lite.recipe.schema import Recipe, TrainingSettings
from gspo_lite.system import processes
from gspo_lite.system.run_folder import CHECKPOINTS
from gspo_lite.training.watch.stop_early import ACCURACY

PATIENCE = 4 * 3600  # seconds that processes wait for each other, for example while the first one evaluates
OF_TOOLS = ("max_turns", "max_tool_calls", "tool_timeout")
MINI_BATCHES = 4  # optimizer steps per rollout in the GSPO paper, section 5.1

# Corrections for the gap between vLLM's log-probs and the trainer's, by TRL's or Unsloth's name of the mode.
CORRECTIONS = {
    "geometric_truncate": "a sequence is weighted by the geometric mean of its tokens' ratios",
    "geometric_mask": "a sequence is left out by the geometric mean of its tokens' ratios",
    "token_truncate": "each token is weighted by its own ratio",
    "token_mask": "a token is left out by its own ratio",
    "sequence_truncate": "a sequence is weighted by the product of its tokens' ratios, which vanishes for long ones",
    "sequence_mask": "a sequence is weighted by the product of its tokens' ratios, which vanishes for long ones",
}


def setting(default: Any, meaning: str) -> Any:
    """Return a dataclass field with this default and help text."""
    return dataclasses.field(default=default, metadata={"help": meaning})


@dataclasses.dataclass
class GSPOConfig(GRPOConfig):
    """Configuration of `GSPOTrainer`: every field of TRL's `GRPOConfig`, with the defaults below.

    GSPO (arXiv 2507.18071) is the sequence ratio with its narrow clip and one mean per sequence. It differs from GRPO
    only from the second optimizer step on a rollout on; therefore `steps_per_generation` defaults to
    4 x `gradient_accumulation_steps`.
    """

    importance_sampling_level: str = setting(
        "sequence", "`sequence` (GSPO), `sequence_token` (GSPO-token) or `token` (GRPO)."
    )
    loss_type: str = setting("grpo", "`grpo` is the mean over sequences of the mean over tokens.")
    epsilon: float = setting(3e-4, "Lower clip range of the sequence ratio.")
    epsilon_high: float | None = setting(4e-4, "Upper clip range of the sequence ratio.")
    use_bias_correction_kl: bool = setting(False, "Multiply the KL penalty by the importance ratio.")
    steps_per_generation: int | None = setting(None, "Passes per rollout; 4 x gradient_accumulation_steps if left out.")
    max_unscored_rollouts: int | None = setting(
        TrainingSettings.model_fields["max_unscored_rollouts"].default,
        "Stop after this many rollouts in a row that no reward could judge; None never stops.",
    )
    sample_factor: int = setting(1, "Sample so many times a rollout's prompts; groups with variance are trained on.")

    @property
    def prompts_per_rollout(self) -> int:
        """Prompts that are asked for a rollout."""
        return self.sample_factor * self.generation_batch_size // self.num_generations

    @property
    def n_gpu(self) -> int:
        """GPUs of this process: one of those it sees.

        Transformers would give each of them a batch of its own (DataParallel), which TRL's sampler does not count.
        """
        return min(super().n_gpu, 1)

    @property
    def correction(self) -> str:
        """How the gap between sampler and trainer is corrected, worded to follow the engine's name."""
        if not self.use_vllm:
            return ""
        if not self.vllm_importance_sampling_correction:
            return ", log-probs not corrected"
        mode = self.vllm_importance_sampling_mode
        return f", log-probs corrected by `{mode}`: {CORRECTIONS.get(mode, 'unknown to gspo-lite')}"

    def __post_init__(self) -> None:
        if self.steps_per_generation is None and self.generation_batch_size is None:
            self.steps_per_generation = MINI_BATCHES * self.gradient_accumulation_steps
        super().__post_init__()


def config_from_recipe(recipe: Recipe, folder: Path, *, use_vllm: bool = False) -> GSPOConfig:
    """Return a recipe as the trainer's configuration.

    Args:
        folder: the run folder; checkpoints are written below it.
        use_vllm: generate with vLLM.

    Raises:
        RecipeError: `training.extra` names a field that the installed TRL does not have, or TRL refuses a value.
    """
    refuse_unknown_extra(recipe.training.extra)
    fields = objective_fields(recipe) | generation_fields(recipe, use_vllm) | training_fields(recipe)
    fields |= evaluation_fields(recipe)
    try:
        config = GSPOConfig(output_dir=str(folder / CHECKPOINTS), **fields, **recipe.training.extra)
    except (ValueError, TypeError) as error:
        raise RecipeError([f"`training`: the installed TRL refuses this configuration: {error}"]) from error
    # Set last, because transformers asks for save_steps that are a multiple of eval_steps. Here a new best is saved at
    # once, whatever save_steps says.
    config.load_best_model_at_end = recipe.output.keep_best
    return config


def objective_fields(recipe: Recipe) -> dict[str, Any]:
    """Return what is optimized, in TRL's names."""
    objective = recipe.objective
    return objective.model_dump(exclude={"algorithm", "credit_estimator", "gamma"}) | {
        "importance_sampling_level": objective.importance_sampling_level,
        "loss_type": objective.resolved_loss_type,
        "reward_weights": [reward.weight for reward in recipe.rewards],
    }


def generation_fields(recipe: Recipe, use_vllm: bool) -> dict[str, Any]:
    """Return how prompts are rendered and completions sampled, in TRL's names."""
    fields = recipe.generation.model_dump(exclude={"engine", "max_prompt_length", *OF_TOOLS})
    if recipe.generation.max_turns is not None:
        fields["max_tool_calling_iterations"] = recipe.generation.max_turns - 1
    fields["chat_template_kwargs"] = recipe.model.chat_template_kwargs
    if use_vllm:
        fields |= {"use_vllm": True, "vllm_mode": "server" if has_server(recipe) else "colocate"}
        fields["vllm_gpu_memory_utilization"] = recipe.model.gpu_memory_utilization
        fields["vllm_importance_sampling_correction"] = True
        fields["vllm_importance_sampling_mode"] = correction_mode(recipe)
    return {name: value for name, value in fields.items() if name not in recipe.training.extra}


def correction_mode(recipe: Recipe) -> str:
    """Return the correction for vLLM's log-probs, which differ slightly from the trainer's on every token.

    TRL's default, `sequence_mask`, multiplies the ratios of all tokens: 500 ratios of 0.99 make 0.007, and long
    completions stop counting. GSPO's ratio is a geometric mean, for which only Unsloth has a matching correction; on
    stock TRL each token is corrected by its own ratio.
    """
    geometric = unsloth_is_live() and recipe.objective.algorithm != "grpo"
    return "geometric_truncate" if geometric else "token_truncate"


def unsloth_is_live() -> bool:
    """Return whether the trainer is Unsloth's and knows the geometric modes."""
    from gspo_lite.training.loss.unsloth import generated_module

    module = generated_module(trl.GRPOTrainer)
    return module is not None and "geometric_truncate" in inspect.getsource(module)


def training_fields(recipe: Recipe) -> dict[str, Any]:
    """Return batches, steps, optimizer, precision and logging, in TRL's names."""
    fields = recipe.training.model_dump(exclude={"extra", "save_steps", "guards", "eval_steps", "stop_early"})
    on_gpu = torch.cuda.is_available() and recipe.model.dtype != "float32"
    bf16 = on_gpu and recipe.model.dtype != "float16" and has_bfloat16()
    return fields | {
        "bf16": bf16,
        "fp16": on_gpu and not bf16,
        "use_cpu": not torch.cuda.is_available(),
        "logging_steps": 1,
        "disable_tqdm": True,
        "save_strategy": "steps" if recipe.training.save_steps else "best" if recipe.output.keep_best else "no",
        "save_steps": recipe.training.save_steps or 1,
        "save_total_limit": recipe.output.save_total_limit,
        "report_to": recipe.output.report_to,
        "run_name": Path(recipe.output.dir).name,
        **({"ddp_timeout": PATIENCE} if processes.count() > 1 and "ddp_timeout" not in recipe.training.extra else {}),
    }


def evaluation_fields(recipe: Recipe) -> dict[str, Any]:
    """Return when the trainer measures held-out problems and whether it returns to the best step, in TRL's names."""
    if recipe.training.eval_steps is None:
        return {}
    fields = {
        "eval_strategy": "steps",
        "eval_steps": recipe.training.eval_steps,
        "per_device_eval_batch_size": recipe.generation.num_generations,  # not used, but TRL wants whole groups
    }
    if recipe.output.keep_best:
        fields |= {"metric_for_best_model": ACCURACY, "greater_is_better": True}
    return fields


def refuse_unknown_extra(extra: dict[str, Any]) -> None:
    """Refuse fields of `training.extra` that the installed TRL does not have."""
    known = [field.name for field in dataclasses.fields(GSPOConfig) if field.init]
    why = "the installed TRL has no such field in GRPOConfig"
    problems = [f"`training.extra.{name}`: {why}{did_you_mean(name, known)}" for name in extra if name not in known]
    if problems:
        raise RecipeError(problems)
