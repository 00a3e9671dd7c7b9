"""Watches every step: skips steps that are not finite; on signs of collapse warns, stops or rolls back.

The signs are in `collapse.py`. Must not change a step that is sound.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback

from gspo_lite.errors import NotSaved, RunError
from gspo_lite.recipe.schema import GuardSettings
from gspo_lite.system.processes import gathered, is_main
from gspo_lite.system.say import warn
from gspo_lite.training.checkpoint.numeric_state import all_finite
from gspo_lite.training.watch.collapse import SIGNS

SCALER_PATIENCE = 16  # steps in a row that float16's loss scaling may skip until it finds its scale
ROLLBACKS = 3  # in one run; more would not help


class FiniteLoss:
    """Mixin in front of the trainer that records whether losses are finite."""

    _losses_are_finite = True

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)  # type: ignore[misc]
        self._losses_are_finite = self._losses_are_finite and bool(torch.isfinite(loss).all())
        return loss

    def losses_were_finite(self) -> bool:
        """Return whether every loss since the last question was finite."""
        were, self._losses_are_finite = self._losses_are_finite, True
        return were


class Guards(TrainerCallback):
    """Guards of a GSPOTrainer; `note` receives warnings as (step, kind, text, hint)."""

    def __init__(self, trainer: Any, settings: GuardSettings, note: Callable[..., None] | None = None):
        self.trainer, self.settings, self.note = trainer, settings, note
        self.streaks: Counter[str] = Counter()
        self.not_applied, self.rollbacks = 0, 0  # steps, restores
        self.roll_back_next = False

    def counters(self) -> dict[str, Any]:
        """Return the counts from which a resumed run continues."""
        return {"streaks": dict(self.streaks), "not_applied": self.not_applied, "rollbacks": self.rollbacks}

    def restore(self, counters: dict[str, Any]) -> None:
        """Restore what `counters` returned."""
        self.streaks = Counter(counters["streaks"])
        self.not_applied, self.rollbacks = counters["not_applied"], counters["rollbacks"]

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Skip the step if its loss or gradient is not finite."""
        trained = [p for p in self.trainer.model.parameters() if p.requires_grad and p.grad is not None]
        loss_is_finite = all(gathered(self.trainer.losses_were_finite()))  # all processes apply a step, or none
        if loss_is_finite and all_finite(p.grad for p in trained):
            self.streaks["skipped"] = 0
            return
        self.not_applied += 1
        self.streaks["skipped"] += 1
        if self.scaling() and loss_is_finite and self.streaks["skipped"] < SCALER_PATIENCE:
            return  # the scaler skips the step and lowers its scale
        for parameter in trained:
            parameter.grad = None  # without a gradient no optimizer moves a weight, not even by momentum
        what = "gradient" if loss_is_finite else "loss"
        self.act(
            "non_finite",
            f"the {what} of step {state.global_step + 1} is not finite; the step was not applied",
            "lower training.learning_rate or training.max_grad_norm, or train in a wider number type (model.dtype)",
            before_step=True,
        )

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Return to the newest checkpoint, or stop, if a weight has overflowed."""
        if all_finite(p.data for p in self.trainer.model.parameters() if p.requires_grad):
            return
        message = f"a weight is no longer finite after step {state.global_step + 1}"
        if self.settings.non_finite == "stop":
            raise NotSaved(message, "lower training.learning_rate; --resume continues from the newest checkpoint")
        self.warn(message, "the weights of the newest checkpoint are restored")
        self.roll_back_next = True

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.roll_back_next:
            self.roll_back_next = False
            self.roll_back()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Look for signs of collapse."""
        if not logs or "train_runtime" in logs:
            return
        found = [sign.seen(logs, self.trainer.rollout) for sign in SIGNS]
        for sign, seen in zip(SIGNS, gathered(found)[0], strict=True):  # the first process decides for all
            if seen is None:
                continue
            self.streaks[sign.name] = self.streaks[sign.name] + 1 if seen else 0
            if self.streaks[sign.name] == (sign.patience or self.settings.rollouts):
                figures = defaultdict(float, logs, times=self.streaks[sign.name])
                self.act(sign.name, sign.text.format_map(figures), sign.hint)

    def act(self, guard: str, message: str, hint: str, *, before_step: bool = False) -> None:
        """Act on one guard as the recipe says; `before_step`: a rollback must wait for the optimizer step to end."""
        action = getattr(self.settings, guard)
        if action == "stop":
            self.trainer.leave_step_out()
            raise RunError(message, f"{hint}. training.guards.{guard} can be warn or rollback instead")
        self.warn(message, hint)
        if action == "rollback":
            self.streaks[guard] = 0
            if before_step:
                self.roll_back_next = True
            else:
                self.roll_back()

    def roll_back(self) -> None:
        """Restore weights and optimizer from the newest checkpoint; data and step count continue."""
        self.rollbacks += 1
        if self.rollbacks > ROLLBACKS:
            raise NotSaved(f"the run returned to a checkpoint {ROLLBACKS} times, which did not help", None)
        step = self.trainer.roll_back()
        if step is None:
            raise NotSaved("there is no complete checkpoint to return to", "set training.save_steps")
        self.warn(f"weights and optimizer are restored from step {step}; the run continues with new data", None)

    def scaling(self) -> bool:
        """Return whether float16's loss scaling is active, which overflows until it finds its scale."""
        return getattr(self.trainer.accelerator, "scaler", None) is not None

    def warn(self, message: str, hint: str | None) -> None:
        if self.note is not None and is_main():
            self.note(self.trainer.state.global_step, "warning", message, hint)
        warn(message, hint)
