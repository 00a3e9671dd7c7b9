"""What is optimised: loss types, ratios and clips, the reference, advantages, and tokens that do not count."""

from __future__ import annotations

from typing import Any

from tests.training.trl_behaviours import parts
from tests.training.trl_behaviours.behaviour import Behaviour

ACCUMULATED = {"gradient_accumulation_steps": 2, "steps_per_generation": 4}
SEQUENCE = {"importance_sampling_level": "sequence", "loss_type": "grpo"}
REFERENCE = {"beta": 0.1}
CLIPS = ("clip_ratio/high_mean", "clip_ratio/low_mean", "clip_ratio/region_mean")
DEALT = (
    "the rows of an optimizer step are dealt to its micro-batches by length, without those that teach nothing; these "
    "figures are means over the rows of a micro-batch, then over micro-batches"
)
EMPTY = "a micro-batch in which no token counts is not computed: its largest and least ratios are 0, TRL's are missing"
ENDLESS = {"generation_kwargs": {"suppress_tokens": [0]}}


def two() -> list[Any]:
    return [parts.distinct, parts.early]


def reference(trainer: Any) -> Any:
    """Train; the weights of the reference afterwards."""
    trainer.train()
    return [p.flatten().tolist() for p in trainer.ref_model.parameters()]


def experts() -> dict[str, Any]:
    return {"model": str(parts.folder("Qwen3Moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16))}


def entropies(trainer: Any) -> Any:
    """Train; the coefficient of the entropy afterwards."""
    trainer.train()
    return trainer.entropy_coef


LOSSES = [
    Behaviour("TRL's defaults", plain=True, quick=True),
    *(Behaviour(f"`loss_type` {name}", {"loss_type": name}) for name in ("grpo", "bnpo", "dr_grpo", "sapo")),
    Behaviour("`loss_type` cispo", {"loss_type": "cispo", "epsilon_high": 1.05}),
    Behaviour("`loss_type` vespo", {"loss_type": "vespo"}),
    Behaviour("`loss_type` luspo", {"loss_type": "luspo", "importance_sampling_level": "sequence"}),
    *(
        Behaviour(
            f"`loss_type` {name} over accumulated batches",
            {"loss_type": name, **ACCUMULATED},
            unlike=CLIPS,
            reason=DEALT,
        )
        for name in ("grpo", "dr_grpo", "dapo")
    ),
    Behaviour("`loss_type` bnpo over accumulated batches", {"loss_type": "bnpo", **ACCUMULATED}),
    Behaviour(
        "`loss_type` cispo over accumulated batches",
        {"loss_type": "cispo", "epsilon_high": 1.05, **ACCUMULATED},
        unlike=("cispo_clip_ratio",),
        reason=DEALT,
    ),
    Behaviour("`importance_sampling_level` sequence", SEQUENCE, quick=True),
    Behaviour("`importance_sampling_level` sequence over two iterations", {**SEQUENCE, "num_iterations": 2}),
    Behaviour(
        "`importance_sampling_level` sequence with GSPO's clip", {**SEQUENCE, "epsilon": 3e-4, "epsilon_high": 4e-4}
    ),
    Behaviour(
        "`importance_sampling_level` sequence with a loss summed over tokens", {"importance_sampling_level": "sequence"}
    ),
    Behaviour("luspo at level token warns", {"loss_type": "luspo"}),
    Behaviour("vespo at level sequence warns", {"loss_type": "vespo", "importance_sampling_level": "sequence"}),
    Behaviour("`epsilon`", {"epsilon": 0.01}),
    Behaviour("`epsilon_high`", {"epsilon_high": 0.01}),
    Behaviour("`delta`, a bound on the ratio of bad tokens", {"delta": 1.05}),
    Behaviour(
        "`sapo_temperature_pos` and `_neg`",
        {"loss_type": "sapo", "sapo_temperature_pos": 2.0, "sapo_temperature_neg": 0.5},
    ),
    Behaviour(
        "`vespo_k_pos` and `vespo_lambda_neg`", {"loss_type": "vespo", "vespo_k_pos": 1.0, "vespo_lambda_neg": 1.0}
    ),
    Behaviour("`off_policy_mask_threshold`", {"off_policy_mask_threshold": 0.01, "loss_type": "grpo"}),
    Behaviour("`beta` with a reference loaded once more", REFERENCE, act=reference),
    Behaviour(
        "`beta` over accumulated batches", {**REFERENCE, **ACCUMULATED}, unlike=(*CLIPS, "entropy", "kl"), reason=DEALT
    ),
    Behaviour("`use_bias_correction_kl`", {**REFERENCE, "use_bias_correction_kl": True}),
    Behaviour("`sync_ref_model`", {**REFERENCE, "sync_ref_model": True, "ref_model_sync_steps": 1}, act=reference),
    Behaviour(
        "`ref_model_mixup_alpha`",
        {**REFERENCE, "sync_ref_model": True, "ref_model_sync_steps": 2, "ref_model_mixup_alpha": 0.3},
        act=reference,
    ),
    *(
        Behaviour(f"`scale_rewards` {value}", {"scale_rewards": value}, plain=value in (True, "group"))
        for value in (True, False, "group", "batch", "none")
    ),
    Behaviour("`multi_objective_aggregation` sum_then_normalize", rewards=two),
    Behaviour(
        "`multi_objective_aggregation` normalize_then_sum",
        {"multi_objective_aggregation": "normalize_then_sum"},
        rewards=two,
    ),
    Behaviour(
        "`mask_truncated_completions`",
        {"mask_truncated_completions": True},
        unlike=("clip_ratio/high_max", "clip_ratio/low_min"),
        reason=EMPTY,
    ),
    Behaviour(
        "`mask_truncated_completions` with nothing but truncated ones",
        {"mask_truncated_completions": True, **ENDLESS},
        unlike=("clip_ratio/high_max", "clip_ratio/low_min"),
        reason=EMPTY,
    ),
    Behaviour("`top_entropy_quantile`", {"top_entropy_quantile": 0.2}),
    Behaviour("`top_entropy_quantile` over accumulated batches", {"top_entropy_quantile": 0.5, **ACCUMULATED}),
    Behaviour("`entropy_coef`", {"entropy_coef": 0.05}),
    Behaviour(
        "`use_adaptive_entropy`",
        {"use_adaptive_entropy": True, "entropy_coef": 0.05, "entropy_target": 9.0},
        act=entropies,
    ),
    Behaviour("`router_aux_loss_coef` of a mixture of experts", {"router_aux_loss_coef": 0.1}, model=experts),
    Behaviour("the auxiliary loss that a model declares", model=experts),
    Behaviour("`use_liger_kernel` without the package", {"use_liger_kernel": True}, raises="ImportError"),
]
