"""Settings that TRL refuses by an error, which must be the same type, however they are passed."""

from __future__ import annotations

from typing import Any

from tests.training.trl_behaviours.behaviour import Behaviour

AT_ONCE = (
    "refused before a model is loaded (UsageError), with the names that are allowed; TRL fails after the first rollout"
)
VLLM = {"use_vllm": True, "vllm_mode": "colocate", "loss_type": "vespo"}
BY_THE_CONFIGURATION = {
    "`num_generations` 1": {"num_generations": 1},
    "a rollout that cuts groups": {"num_generations": 3},
    "`generation_batch_size` and `steps_per_generation`": {"generation_batch_size": 8},
    "`generation_batch_size` that cuts batches": {"generation_batch_size": 6, "steps_per_generation": None},
    "`auto_find_batch_size`": {"auto_find_batch_size": True},
    "`log_completions_hub_repo` without `log_completions`": {"log_completions_hub_repo": "me/mine"},
    "`vllm_importance_sampling_clip_min` above `_max`": {"vllm_importance_sampling_clip_min": 5.0},
    "truncated sampling ratios without a bound": {
        "vllm_importance_sampling_mode": "token_truncate", "vllm_importance_sampling_clip_max": None,
    },
}  # fmt: skip
BY_THE_TRAINER = {
    "`sync_ref_model` without `beta`": {"sync_ref_model": True},
    "`scale_rewards` that does not exist": {"scale_rewards": "twice"},
    "`multi_objective_aggregation` that does not exist": {"multi_objective_aggregation": "product"},
    "`router_aux_loss_coef` of a dense model": {"router_aux_loss_coef": 0.1},
    "vespo with the sampling ratios of sequences": VLLM,
}


def defaults(trainer: Any) -> Any:
    """The settings of a trainer that got none."""
    return trainer.loss_type, trainer.importance_sampling_level, trainer.epsilon_low, trainer.beta


REFUSALS = [
    *(
        Behaviour(f"{name}, in a `GSPOConfig`", settings, raises="ValueError", config=True)
        for name, settings in BY_THE_CONFIGURATION.items()
    ),
    *(Behaviour(name, settings, raises="ValueError") for name, settings in BY_THE_TRAINER.items()),
    Behaviour(
        "`loss_type` that does not exist",
        {"loss_type": "newest"},
        ours="UsageError",
        unlike=("error",),
        reason=AT_ONCE,
        raises="ValueError",
    ),
    Behaviour(
        "`importance_sampling_level` that does not exist",
        {"importance_sampling_level": "word"},
        ours="UsageError",
        unlike=("error",),
        reason=AT_ONCE,
        quick=True,
        raises="ValueError",
    ),
    Behaviour("TRL's defaults in a `GSPOConfig`", config=True, plain=True, quick=True),
    Behaviour(
        "`args` left out",
        options=lambda: {"args": None},
        act=defaults,
        unlike=("error",),
        reason="the paper's settings, on a CPU without bfloat16; TRL's need a GPU",
        raises="ValueError",
    ),
    Behaviour("`train_dataset` of another kind", rows=lambda: {"prompt": ["w1"]}, raises="TypeError"),
    Behaviour("`vllm_importance_sampling_cap`", {"vllm_importance_sampling_cap": 2.0}, plain=True),
    Behaviour(
        "`vllm_importance_sampling_mode` without vLLM",
        {"vllm_importance_sampling_mode": "token_mask", "vllm_importance_sampling_clip_max": 1.5},
        plain=True,
    ),
]
