"""What a run writes and shows while it trains: metrics, sampled completions, live progress.

Owns the files metrics.jsonl and completions.jsonl and the progress line. Must not change training.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from gspo_lite.folder import append_jsonl

PLAIN_SECONDS = 10.0  # between progress lines where the output is no terminal
KEPT = 100  # steps whose figures transformers may hold too; metrics.jsonl has all
NOISE_SHARE = 4.0  # standard deviations of the noise that the clip must leave room for


class MetricsWriter(TrainerCallback):
    """Append one object per optimizer step to metrics.jsonl."""

    def __init__(self, path: Path):
        self.path = path
        self.clock = TokenClock()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.clock = TokenClock()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not logs or "train_runtime" in logs:  # the summary after the last step is no step
            return
        self.clock.update(logs.get("num_tokens"))
        logs["tokens_per_second"] = self.clock.rate
        append_jsonl(self.path, [{"step": state.global_step, "time": round(time.time(), 3), **logs}])
        del state.log_history[:-KEPT]  # or memory and every checkpoint grow with the steps


class TokenClock:
    """Tokens per second over the whole cycle of a rollout: generating, scoring and its optimizer steps."""

    def __init__(self) -> None:
        self.start: tuple[float, float] | None = None
        self.rate: float | None = None

    def update(self, num_tokens: float | None) -> None:
        """Take the running count of prompt and completion tokens, which changes once per rollout."""
        if num_tokens is None:
            return
        now = time.perf_counter()
        if self.start is None:
            self.start = (now, num_tokens)
        elif num_tokens > self.start[1]:
            self.rate = (num_tokens - self.start[1]) / (now - self.start[0])
            self.start = (now, num_tokens)


class CompletionsWriter(TrainerCallback):
    """Append some completions of each rollout to completions.jsonl, with extracted answer, rewards and advantage."""

    def __init__(self, path: Path, per_step: int, rollout: Callable[[], list[dict[str, Any]]]):
        self.path = path
        self.per_step = per_step
        self.rollout = rollout
        self.written: list[dict[str, Any]] | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        rows = self.rollout()
        if rows is self.written:
            return
        self.written = rows
        append_jsonl(self.path, [{"step": state.global_step, **row} for row in rows[: self.per_step]])


class Progress(TrainerCallback):
    """One live line: a bar on a terminal, a plain line every ten seconds elsewhere."""

    def __init__(self, accuracy_reward: str | None):
        self.accuracy_reward = accuracy_reward
        self.shown: dict[str, Any] = {}
        self.clipped: deque[float] = deque(maxlen=8)  # of the last steps; the first on a rollout never clips
        self.bar: Any = None
        self.began = self.last_line = time.perf_counter()
        self.first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = self.last_line = time.perf_counter()
        self.first_step = state.global_step
        if sys.stderr.isatty():
            self.bar, self.task = progress_bar(state.max_steps, state.global_step)
            self.bar.start()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not logs or "train_runtime" in logs:
            return
        self.shown.update({name: value for name, value in logs.items() if value is not None})
        if logs.get("clip_ratio/region_mean") is not None:
            self.clipped.append(logs["clip_ratio/region_mean"])
            self.shown["clipped"] = sum(self.clipped) / len(self.clipped)
        if self.bar is not None:
            self.bar.update(self.task, completed=state.global_step, text=self.text())
        elif self.line_is_due(state):
            self.last_line = time.perf_counter()
            text = f"  step {state.global_step}/{state.max_steps}  {self.text()}  {self.time_left(state)} left"
            print(text, file=sys.stderr, flush=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back; safe to call twice, and needed when training ends with an error."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def line_is_due(self, state: Any) -> bool:
        ends = state.global_step in (self.first_step + 1, state.max_steps)
        return ends or time.perf_counter() - self.last_line >= PLAIN_SECONDS

    def text(self) -> str:
        """The live figures, each left out until it is known."""
        parts = [
            ("reward", "reward", "{:.2f}"),
            ("accuracy", f"rewards/{self.accuracy_reward}/mean", "{:.0%}"),
            ("clipped", "clipped", "{:.0%}"),
            ("tok/s", "tokens_per_second", "{:.0f}"),
        ]
        known = [(label, key, form) for label, key, form in parts if self.shown.get(key) is not None]
        return "  ".join(f"{label} {form.format(self.shown[key])}" for label, key, form in known)

    def time_left(self, state: Any) -> str:
        done = max(state.global_step - self.first_step, 1)
        seconds = (time.perf_counter() - self.began) / done * (state.max_steps - state.global_step)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class NoiseFloor(TrainerCallback):
    """Warn, once, when ratios differ from 1 before any weight has moved, by so much that the clip cuts noise.

    Args:
        epsilon: the narrower side of the clip.
    """

    def __init__(self, epsilon: float):
        self.epsilon = epsilon
        self.said = False

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        floor = (logs or {}).get("gspo/noise_floor")
        if self.said or floor is None or floor <= self.epsilon / NOISE_SHARE:
            return
        self.said = True
        print(
            f"warning: the noise floor sd(log s) is {floor:.1e}, more than a quarter of epsilon {self.epsilon:.1e}: "
            "the clip cuts rounding as well as change. A wider number type or an epsilon of "
            f"{smallest_epsilon(floor):.1e} and up helps; `gspo-lite probe` measures it",
            file=sys.stderr,
            flush=True,
        )


def smallest_epsilon(floor: float) -> float:
    """The narrowest clip that noise of this size, sd(log s), leaves alone but for one sequence in 10,000."""
    return NOISE_SHARE * floor


def progress_bar(total: int, done: int) -> tuple[Any, Any]:
    """A rich progress bar on stderr and its task."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("  training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    return bar, bar.add_task("", total=total, completed=done, text="")
