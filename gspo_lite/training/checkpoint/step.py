"""What is remembered of the last finished step, and the callback that tells when a step begins and ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback


@dataclass(frozen=True)
class LastStep:
    """State after the last finished step, of everything that changes during the next one."""

    step: int
    passes: int  # forward and backward passes, which give the position in the rollout
    batches: list[dict[str, Any]] | None
    tokens: float
    counters: dict[str, Any]
    rng: dict[str, Any]


class StepBoundary(TrainerCallback):
    """Tell the trainer when a step is complete, and hold signals back while it is not."""

    def __init__(self, trainer: Any):
        self.trainer = trainer

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.end_step()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.begin_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.remember_step()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.end_step()
