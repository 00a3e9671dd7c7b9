"""Says which fields of TRL's configuration `training.extra` may set: those that no key of a recipe sets already."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from gspo_lite.recipe import schema
from gspo_lite.recipe.problem import Problem
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system.environment import installed
from gspo_lite.system.redaction import is_secret

OWN_LOSS = "in the installed TRL Liger computes its own loss, which has no GSPO-token"
WITHOUT_OWN_LOSS = "1.14"  # the first TRL whose `use_liger_kernel` leaves the loss to TRL

# Fields of TRL's configuration that a key of the recipe sets already, most of them under the same name.
SECTIONS: dict[str, type[schema.Settings]] = {
    "objective": schema.ObjectiveSettings, "generation": schema.GenerationSettings,
    "training": schema.TrainingSettings, "output": schema.OutputSettings,
}  # fmt: skip
OWNED = {name: f"{section}.{name}" for section, settings in SECTIONS.items() for name in settings.model_fields} | {
    "importance_sampling_level": "objective.algorithm", "reward_weights": "rewards", "use_vllm": "generation.engine",
    "vllm_mode": "generation.engine", "vllm_gpu_memory_utilization": "model.gpu_memory_utilization",
    "bf16": "model.dtype", "fp16": "model.dtype", "output_dir": "output.dir", "run_name": "output.dir",
    "generation_batch_size": "training.steps_per_generation", "chat_template_kwargs": "model.chat_template_kwargs",
}  # fmt: skip
SERVER = "vllm_server_"  # TRL's fields that say where a vLLM server is
EPOCHS = (
    "training.max_steps counts optimizer steps: epochs x rows x num_generations x num_iterations / "
    "(per_device_train_batch_size x gradient_accumulation_steps)"
)
# Fields of TRL's configuration that would be accepted and do nothing here, and why.
NO_EFFECT = {
    "eval_strategy": "training.eval_steps alone says when held-out problems are evaluated",
    "load_best_model_at_end": "output.keep_best keeps the best step",
    "metric_for_best_model": "output.keep_best goes by held-out accuracy",
    "greater_is_better": "output.keep_best goes by held-out accuracy",
    "eval_delay": "training.eval_steps counts from the first step",
    "eval_on_start": "held-out problems are always evaluated before training",
    "per_device_eval_batch_size": "data.eval.batch_size is the number of held-out completions generated at a time",
    "num_train_epochs": EPOCHS,
    "logging_strategy": "every step is logged",
    "label_smoothing_factor": "TRL's GRPO loss has no labels",
    "max_tool_calling_iterations": "generation.max_turns limits a conversation with tools, and is one more",
    "model_init_kwargs": "the model is loaded before; use the keys of `model`",
}
FIXED = ("logging_steps", "disable_tqdm", "save_strategy", "use_cpu", "resume_from_checkpoint")


def extra_is_extra(recipe: Recipe) -> Iterator[Problem]:
    for name in recipe.training.extra:
        place = ("training", "extra", name)
        if name in OWNED:
            yield Problem(place, f"is set by `{OWNED[name]}`; set it there")
        elif is_secret(name):
            yield Problem(place, "a recipe is stored with the run and must not hold secrets; set HF_TOKEN instead")
        elif name in NO_EFFECT:
            yield Problem(place, f"has no effect: {NO_EFFECT[name]}")
        elif name in FIXED:
            yield Problem(place, "is set by gspo-lite itself and cannot be changed")
        elif name.startswith(SERVER) and (recipe.model.backend, recipe.generation.engine) != ("transformers", "vllm"):
            message = "a vLLM server works with TRL's own trainer only: set backend `transformers` and engine `vllm`"
            yield Problem(place, message)
        elif name == "use_liger_kernel" and recipe.objective.algorithm == "gspo_token" and liger_has_own_loss():
            yield Problem(place, f"{OWN_LOSS}. Remove it, use `gspo`, or install trl {WITHOUT_OWN_LOSS} or later")


def liger_has_own_loss() -> bool:
    """Return whether `use_liger_kernel` goes past TRL's loss; later it means log-probs in chunks, for any loss."""
    trl = installed("trl")
    return trl is not None and Version(trl) < Version(WITHOUT_OWN_LOSS)


def has_server(recipe: Recipe) -> bool:
    """Return whether completions come from a separate vLLM server (`trl vllm-serve`)."""
    return any(name.startswith(SERVER) for name in recipe.training.extra)
