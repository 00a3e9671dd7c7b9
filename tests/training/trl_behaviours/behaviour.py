"""One behaviour of TRL's `GRPOTrainer` that is observed on it and on `GSPOTrainer`, under the same settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.training.trl_behaviours import parts

# Three steps on two rollouts; SGD, because Adam makes full steps of the rounding in gradients near 0.
SETTINGS: dict[str, Any] = {
    "max_steps": 3, "per_device_train_batch_size": 4, "num_generations": 4, "steps_per_generation": 2,
    "max_completion_length": 6, "optim": "sgd", "learning_rate": 0.5, "logging_steps": 1, "save_strategy": "no",
    "report_to": "none", "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "disable_tqdm": True,
    "dataloader_pin_memory": False, "seed": 9,
}  # fmt: skip


def trained(trainer: Any) -> Any:
    """Train; the number of steps taken."""
    return trainer.train().global_step


@dataclass(frozen=True)
class Behaviour:
    """A row of the table.

    Attributes:
        name: what a user of TRL relies on.
        settings: of `GRPOConfig`, on top of `SETTINGS` and TRL's defaults.
        late_settings: called for settings that need a model's tokenizer.
        model: called for each trainer; its keyword arguments `model` and perhaps `processing_class`.
        rows: the training data.
        rewards: called for each trainer, because both may keep state in them.
        options: called for each trainer; its further arguments.
        act: called with the trainer; what it returns must be equal on both.
        raises: the type of the error that TRL raises, if it does.
        ours: the type of the error that `GSPOTrainer` raises, where `unlike` says that it is another.
        unlike: what differs: `error`, `warned`, `training` (samples, weights and figures), `found` or the name of a
            metric. All else must agree, and this must differ.
        reason: why that is meant.
        tolerance: of the movement of the weights, relative.
        config: whether `GSPOTrainer` gets a `GSPOConfig` with these values instead of TRL's own class.
        plain: whether it looks on TRL's trainer as if nothing had been set.
        quick: whether it is part of the default tests.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    late_settings: Callable[[], dict[str, Any]] = dict
    model: Callable[[], dict[str, Any]] = parts.text
    rows: Callable[[], Any] = parts.prompts
    rewards: Callable[[], Any] = lambda: parts.distinct
    options: Callable[[], dict[str, Any]] = dict
    act: Callable[[Any], Any] = trained
    raises: str | None = None
    ours: str | None = None
    unlike: tuple[str, ...] = ()
    reason: str = ""
    tolerance: float = 2e-5
    config: bool = False
    plain: bool = False
    quick: bool = False
