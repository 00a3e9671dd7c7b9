"""Callbacks that write metrics and completions, show progress, free memory and warn of noise."""

from __future__ import annotations

import ctypes
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from gspo_lite.system.figures import CUT_OFF, RATIO_CLIPPED
from gspo_lite.system.progress import View, open_view
from gspo_lite.system.run_folder import append_jsonl, read_jsonl
from gspo_lite.system.say import warn
from gspo_lite.tools.shown import CALLS
from gspo_lite.training.watch.gauges import NOISE_SHARE
from gspo_lite.training.watch.held_out import SECONDS
from gspo_lite.training.watch.stop_early import evaluated

KEPT = 100  # steps whose figures transformers keeps in memory, beside held-out ones; metrics.jsonl has all
WORTH_SHOWING = 0.005  # share of completions that are cut off
FAILED = ("error", "late", "refused")  # ends of a call without a result


class MetricsWriter(TrainerCallback):
    """Append one object per optimizer step to metrics.jsonl.

    Its `seconds` are those of training up to the step, over all resumes; the time between them does not count.
    """

    def __init__(self, path: Path):
        self.path, self.clock, self.began = path, TokenClock(), 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.clock = TokenClock()
        earlier = read_jsonl(self.path)
        self.began = time.perf_counter() - (earlier[-1].get("seconds", 0.0) if earlier else 0.0)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not logs or "train_runtime" in logs:  # a summary follows the last step
            return
        self.clock.skip(logs.get(SECONDS, 0.0))
        self.clock.update(logs.get("num_tokens"))
        logs["tokens_per_second"] = self.clock.rate
        times = {"time": round(time.time(), 3), "seconds": round(time.perf_counter() - self.began, 3)}
        append_jsonl(self.path, [{"step": state.global_step, **times, **logs}])
        # Otherwise memory and every checkpoint would grow with the steps.
        state.log_history[:-KEPT] = evaluated(state.log_history[:-KEPT])


class HeapTrimmer(TrainerCallback):
    """Return free memory to the system at every save, if the C library is glibc: memory would grow over hours."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        with suppress(AttributeError, OSError, TypeError):  # another C library or system
            ctypes.CDLL(None).malloc_trim(0)


class TokenClock:
    """Tokens per second over the whole cycle of a rollout: generation, scoring and its optimizer steps."""

    def __init__(self) -> None:
        self.start: tuple[float, float] | None = None
        self.rate: float | None = None

    def skip(self, seconds: float) -> None:
        """Leave out seconds that went into an evaluation."""
        if self.start is not None:
            self.start = (self.start[0] + seconds, self.start[1])

    def update(self, num_tokens: float | None) -> None:
        """Record the running count of prompt and completion tokens, which changes once per rollout."""
        if num_tokens is None:
            return
        now = time.perf_counter()
        if self.start is None:
            self.start = (now, num_tokens)
        elif num_tokens > self.start[1]:
            self.rate = (num_tokens - self.start[1]) / (now - self.start[0])
            self.start = (now, num_tokens)


class CompletionsWriter(TrainerCallback):
    """Pass `count` completions of each rollout of a GSPOTrainer, as rows with their `step`, to all `takers`."""

    def __init__(self, trainer: Any, count: int, takers: Sequence[Callable[[list[dict[str, Any]]], None]]):
        self.trainer, self.count, self.takers = trainer, count, takers
        self.written: list[dict[str, Any]] | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer.rollout is self.written:
            return
        self.written = self.trainer.rollout
        rows = [{"step": state.global_step, **row} for row in self.trainer.sampled(self.count)]
        for take in self.takers:
            take(rows)


class Progress(TrainerCallback):
    """Shows live figures of training."""

    def __init__(self, accuracy_reward: str | None):
        self.accuracy_reward = accuracy_reward
        self.shown: dict[str, Any] = {}
        self.clipped: deque[float] = deque(maxlen=8)  # of the last steps; the first on a rollout never clips
        self.view: View | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.view = open_view("training", state.max_steps, state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not logs or "train_runtime" in logs or self.view is None:
            return
        self.shown.update({name: value for name, value in logs.items() if value is not None})
        if logs.get("clip_ratio/region_mean") is not None:
            self.clipped.append(logs["clip_ratio/region_mean"])
            self.shown[RATIO_CLIPPED] = sum(self.clipped) / len(self.clipped)
        if logs.get("completions/clipped_ratio") is not None:
            share = logs["completions/clipped_ratio"]
            self.shown[CUT_OFF] = share if share >= WORTH_SHOWING else None
        if logs.get(CALLS) is not None:
            failed = sum(logs.get(f"tools/{end}") or 0 for end in FAILED)
            self.shown["failed"] = failed if failed >= WORTH_SHOWING else None
        self.view.update(state.global_step, self.text())

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the live view; safe to call twice, and needed if training ends with an error."""
        if self.view is not None:
            self.view.close()
            self.view = None

    def text(self) -> str:
        """Return the live figures, without those that are not known yet."""
        parts = [
            ("reward", "reward", "{:.2f}"), ("accuracy", f"rewards/{self.accuracy_reward}/mean", "{:.0%}"),
            (RATIO_CLIPPED, RATIO_CLIPPED, "{:.0%}"), (CUT_OFF, CUT_OFF, "{:.0%}"),
            ("calls", CALLS, "{:.1f}"), ("failed", "failed", "{:.0%}"), ("tok/s", "tokens_per_second", "{:.0f}"),
        ]  # fmt: skip
        known = [(label, key, form) for label, key, form in parts if self.shown.get(key) is not None]
        return "  ".join(f"{label} {form.format(self.shown[key])}" for label, key, form in known)


class NoiseFloor(TrainerCallback):
    """Warn once if ratios differ from 1 before any weight has moved by so much that the clip cuts noise.

    Args:
        epsilon: the narrower side of the clip.
        note: receives the warning as (step, kind, text).
    """

    def __init__(self, epsilon: float, note: Callable[..., None]):
        self.epsilon, self.note, self.said = epsilon, note, False

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        floor = (logs or {}).get("gspo/noise_floor")
        if self.said or floor is None or floor <= self.epsilon / NOISE_SHARE:
            return
        self.said = True
        text = (
            f"the noise floor sd(log s) is {floor:.1e}, more than a quarter of epsilon {self.epsilon:.1e}: "
            "the clip cuts rounding errors as well as changes. Use a wider number type or an epsilon of at least "
            f"{smallest_epsilon(floor):.1e}; `gspo-lite probe` measures it"
        )
        self.note(state.global_step, "warning", text)
        warn(text)


def smallest_epsilon(floor: float) -> float:
    """Return the narrowest clip range that noise of this size, sd(log s), exceeds in one of 10,000 sequences."""
    return NOISE_SHARE * floor
