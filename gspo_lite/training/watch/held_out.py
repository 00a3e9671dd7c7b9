"""Measures the model on held-out problems while it trains: figures in the log, the best step, an early end.

    log         at a step that is due, held-out figures are measured and join the record of the step
    evaluate    transformers' call right after it: gets these figures, and chooses the best step by them

Must not change a step: random numbers are restored, and `measure` restores the model's mode. Must not know what is
measured, nor how.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from gspo_lite.system.figures import interval, share
from gspo_lite.system.processes import gathered, is_main
from gspo_lite.system.say import say, warn
from gspo_lite.training.checkpoint.numeric_state import random_states, restore_random_states
from gspo_lite.training.watch.stop_early import (
    ACCURACY,
    HIGH,
    LOW,
    STOPPED_EARLY,
    TRAINING_REWARD,
    Row,
    best_of,
    evaluated,
    reason_to_stop,
)

Measure = Callable[[], Mapping[str, Any]]
PLAIN = ("format_rate", "mean_tokens", "n")
OF_TOOLS = ("mean_turns", "calls_per_episode")  # figures of runs with tools
SECONDS = "eval_runtime"  # transformers' name


class HeldOut:
    """Mixin in front of the trainer; without a measure, TRL evaluates on `eval_dataset`."""

    # of the trainer
    args: Any
    state: Any
    control: Any
    model: Any
    callback_handler: Any
    _metrics: Any

    _measure: Measure | None = None
    _patience: int | None = None
    _note: Callable[..., None] | None = None
    _figures: dict[str, Any] | None = None  # of the present step, until `evaluate` has them

    def _begin_held_out(self, measure: Measure | None, patience: int | None, note: Callable[..., None] | None) -> None:
        self._measure, self._patience, self._note = measure, patience, note

    def log(self, logs: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        if self._measure is not None and self.control.should_evaluate:
            self._figures = self._measured(self._measure)
            logs.update(self._figures)
        super().log(logs, *args, **kwargs)  # type: ignore[misc]

    def evaluate(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Return held-out figures, by the measure if there is one, and end training early if they ask for it."""
        if self._measure is None:
            return super().evaluate(*args, **options)  # type: ignore[misc]
        figures, self._figures = self._figures or self._measured(self._measure), None
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        rows = evaluated(self.state.log_history)
        say(line_of(self.state.global_step, figures, rows))
        best = self.state.best_metric
        if self.args.load_best_model_at_end and (best is None or figures[ACCURACY] > best):
            self.control.should_save = True  # transformers remembers the step, but saves it at save_steps only
        reason = self._reason_to_stop(rows)
        if reason is not None and self.state.global_step < self.state.max_steps:
            self._end_early(reason)
        return figures

    def kept_step(self) -> int | None:
        """Return the step whose weights the model has after training, if that is the best one instead of the last."""
        if not self.args.load_best_model_at_end:
            return None
        if self.state.best_model_checkpoint is None:
            warn("the checkpoint of the best step is not there; the adapter is that of the last step")
            return None
        return int(self.state.best_global_step)

    def _measured(self, measure: Measure) -> dict[str, Any]:
        """Return the figures that the first process measures, in all processes."""
        states, began = random_states(), time.perf_counter()
        figures: dict[str, Any] = {}
        if is_main():
            figures = {**as_metrics(measure()), TRAINING_REWARD: self._training_reward()}
            figures[SECONDS] = round(time.perf_counter() - began, 3)
        shared: dict[str, Any] = gathered(figures)[0]
        restore_random_states(states)
        return {name: value for name, value in shared.items() if value is not None}

    def _training_reward(self) -> float | None:
        """Return the mean reward of the rollouts since the last evaluation, or of those before it if there is none."""
        log = self.state.log_history
        last = max((place for place, row in enumerate(log) if SECONDS in row), default=-1)
        known = [row["reward"] for row in log[last + 1 :] if row.get("reward") is not None]
        known += self._metrics["train"].get("reward", [])  # of this step, which is not logged yet
        if not known:
            return log[last].get(TRAINING_REWARD) if log else None
        return float(sum(known) / len(known))

    def _reason_to_stop(self, rows: list[Row]) -> str | None:
        return None if self._patience is None else reason_to_stop(rows, self._patience)

    def _end_early(self, reason: str) -> None:
        """End training after this step, which is saved so that a resumed run ends here as well."""
        self.control.should_training_stop = True
        self.control.should_save = self.args.save_strategy != "no"
        say(f"stopped  early after step {self.state.global_step}: {reason}")
        if self._note is not None and is_main():
            self._note(self.state.global_step, STOPPED_EARLY, reason)

    def _has_ended(self, state: Mapping[str, Any]) -> bool:
        """Return whether training ended early at this state of a checkpoint."""
        rows = evaluated(state["log_history"])
        return bool(rows) and rows[-1]["step"] == state["global_step"] and self._reason_to_stop(rows) is not None


def as_metrics(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures of `evaluate_greedy` as numbers under the names that trackers file under `eval`."""
    low, high = figures["ci95"] or (None, None)
    means = {f"eval_rewards/{name}/mean": value for name, value in figures["rewards"].items()}
    plain = {f"eval_{name}": figures[name] for name in (*PLAIN, *OF_TOOLS) if name in figures}
    return {ACCURACY: figures["accuracy"], LOW: low, HIGH: high, **plain, **means}


def line_of(step: int, figures: Mapping[str, Any], rows: list[Row]) -> str:
    """Return the line that a person reads after an evaluation."""
    if ACCURACY not in figures:
        means = [f"{name.split('/')[1]} {value:.3f}" for name, value in figures.items() if name.endswith("/mean")]
        return f"held out step {step}: mean reward {', '.join(means) or 'unknown'}"
    best = best_of(rows)
    also = "the best so far" if best["step"] == step else f"best {share(best[ACCURACY])} at step {best['step']}"
    ends = interval((figures[LOW], figures[HIGH]))
    return f"held out step {step}: accuracy {share(figures[ACCURACY])} ({ends}), {also}"
