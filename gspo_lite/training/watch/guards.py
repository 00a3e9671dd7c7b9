"""Watches every step: skips steps that are not finite; on signs of collapse warns, stops or rolls back.

The signs are in `collapse.py`; each is told once in a training. At its end, signs that held for all of a training too
short for their patience are told as well, and weights of which none has changed. Must not change a step that is sound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback

from gspo_lite.errors import NotSaved, RunError
from gspo_lite.recipe.schema import GuardSettings
from gspo_lite.system.processes import gathered, is_main
from gspo_lite.system.say import warn
from gspo_lite.training.checkpoint.numeric_state import all_finite
from gspo_lite.training.fitness import sums_of_trained
from gspo_lite.training.watch.collapse import SIGNS, Sign, span
from gspo_lite.training.watch.streaks import Streaks

SCALER_PATIENCE = 16  # steps in a row that float16's loss scaling may skip until it finds its scale
ROLLBACKS = 3  # in one run; more would not help
NOTHING_LEARNED = {"non_finite", "empty_completions", "flat_reward", "no_variance"}  # they say why


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
        self.streaks = Streaks(settings.rollouts)
        self.skipped, self.not_applied, self.rollbacks = 0, 0, 0  # steps in a row, steps in all, restores
        self.roll_back_next = False
        self.told: set[str] = set()  # guards
        self.last: dict[str, Any] = {}  # figures that were last logged of a rollout
        self.logged, self.began = 0, 0  # steps
        self.weights, self.moved = torch.empty(0), False  # sums at the start, whether a step has changed one

    def counters(self) -> dict[str, Any]:
        """Return the counts from which a resumed run continues."""
        counts = {"skipped": self.skipped, "not_applied": self.not_applied, "rollbacks": self.rollbacks}
        return counts | {"streaks": self.streaks.state(), "told": sorted(self.told)}

    def restore(self, counters: dict[str, Any]) -> None:
        """Restore what `counters` returned."""
        self.skipped, self.not_applied, self.rollbacks = (
            counters[name] for name in ("skipped", "not_applied", "rollbacks")
        )
        self.streaks.restore(counters["streaks"])
        self.told = set(counters["told"])

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:  # not resumed
            self.streaks, self.told = Streaks(self.settings.rollouts), set()
        self.logged = self.began = state.global_step
        self.weights, self.moved = sums_of_trained(self.trainer.model), False

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Skip the step if its loss or gradient is not finite."""
        trained = [p for p in self.trainer.model.parameters() if p.requires_grad and p.grad is not None]
        loss_is_finite = all(gathered(self.trainer.losses_were_finite()))  # all processes apply a step, or none
        if loss_is_finite and all_finite(p.grad for p in trained):
            self.skipped = 0
            return
        self.not_applied += 1
        self.skipped += 1
        if self.scaling() and loss_is_finite and self.skipped < SCALER_PATIENCE:
            return  # the scaler skips the step and lowers its scale
        for parameter in trained:
            parameter.grad = None  # without a gradient no optimizer moves a weight, not even by momentum
        what, count = "gradient" if loss_is_finite else "loss", self.not_applied
        if self.settings.non_finite == "warn" and count & (count - 1):
            return  # told at the first, second, fourth, eighth ...
        self.act(
            "non_finite",
            f"the {what} of step {state.global_step + 1} is not finite; the step was not applied"
            + (f", as {count - 1} before it" if count > 1 else ""),
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
        # Looked at here, because after training the model may have the weights of its best step again.
        self.moved = self.moved or not torch.equal(self.weights, sums_of_trained(self.trainer.model))
        if self.roll_back_next:
            self.roll_back_next = False
            self.roll_back()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Look for signs of collapse."""
        if not logs:
            return
        rollouts = max((state.global_step - self.logged) // self.trainer.updates_per_rollout, 1)
        self.logged = state.global_step
        if logs.get("reward") is not None:
            self.last = dict(logs)
        found = gathered([sign.seen(logs, self.trainer.rollout) for sign in SIGNS])[0]  # the first process decides
        for sign in self.streaks.take(found, rollouts):
            if getattr(self.settings, sign.name) != "warn" or sign.name not in self.told | self.streaks.explained():
                self.act(sign.name, *self.in_words(sign, logs, whole=False))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell what held for the whole of a training too short for it, and that no weight has changed."""
        for sign in self.streaks.unbroken():
            if sign.name not in self.told | self.streaks.explained():
                self.warn(*self.in_words(sign, self.last, whole=True))
                self.told.add(sign.name)
        if state.global_step == self.began or self.told & NOTHING_LEARNED:
            return
        if not self.moved:
            self.warn(
                f"no weight has changed from step {self.began} to step {state.global_step}",
                "the learning rate is 0 or too small for the weights' number type, or warmup_steps exceeds the steps",
            )

    def in_words(self, sign: Sign, figures: dict[str, Any], *, whole: bool) -> tuple[str, str]:
        """Return message and hint of a sign; `whole`: it held for the whole training."""
        times = self.streaks.lengths[sign.name]
        more = {"times": times, "span": span(times, whole=whole), "epsilon": self.trainer.args.epsilon}
        known = defaultdict(float, figures | more)
        return sign.text.format_map(known), sign.hint.format_map(known)

    def act(self, guard: str, message: str, hint: str, *, before_step: bool = False) -> None:
        """Act on one guard as the recipe says; `before_step`: a rollback must wait for the optimizer step to end."""
        action = getattr(self.settings, guard)
        self.told.add(guard)
        if action == "stop":
            self.trainer.leave_step_out()
            where = f"training.guards.{guard} of a recipe, or guards=GuardSettings({guard}=...) in Python"
            raise RunError(message, f"{hint}. {where}, can be warn or rollback instead")
        self.warn(message, hint)
        if action == "rollback":
            self.streaks.lengths[guard] = 0
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
