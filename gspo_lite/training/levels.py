"""Runs the loss self-test of each level on the installed trainer, for `gspo-lite doctor`."""

from __future__ import annotations

import tempfile

from gspo_lite.training.config import GSPOConfig
from gspo_lite.training.hooks import check_hooks
from gspo_lite.training.selftest import self_test
from gspo_lite.training.trainer import UNSLOTH, GSPOTrainer

LEVELS = {"gspo": ("sequence", 3e-4), "gspo_token": ("sequence_token", 3e-4), "grpo": ("token", 0.2)}


def gaps_of_all_levels() -> dict[str, float]:
    """Return the largest relative gap of loss and gradient, by trainer and algorithm; raise if one is too large."""
    check_hooks(GSPOTrainer)
    trainer = "TRL" if UNSLOTH is None else "Unsloth"
    with tempfile.TemporaryDirectory() as folder:
        return {f"{trainer} {name}": gap_of(level, epsilon, folder) for name, (level, epsilon) in LEVELS.items()}


def gap_of(level: str, epsilon: float, folder: str) -> float:
    """Return the larger gap, of loss or gradient, of one level."""
    args = GSPOConfig(
        output_dir=folder, importance_sampling_level=level, epsilon=epsilon, epsilon_high=epsilon,
        use_cpu=True, bf16=False, report_to=[],
    )  # fmt: skip
    return max(self_test(GSPOTrainer, args).values())
