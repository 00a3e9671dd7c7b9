"""Writes down when a trainer's steps begin and end, what it samples and how long its parts take; the same for all.

{"mark": "step begins", "step": 1, "time": 1763740800.1, "cpu": 18.2}
{"mark": "step", "step": 1, "time": 1763740802.4, "cpu": 20.4, "reward": 0.31, "num_tokens": 8704}
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

REWARD = "rewards/math_correct/mean"


def mark(path: Path, name: str, **figures: Any) -> None:
    """Append one moment."""
    with path.open("a") as file:
        print(json.dumps({"mark": name, "time": time.time(), "cpu": time.process_time(), **figures}), file=file)


def callback(path: Path, first_step_only: bool = False) -> Any:
    """A trainer's callback that marks every step.

    Args:
        first_step_only: end the process, without ceremony, after the first step.
    """
    from transformers import TrainerCallback

    class Marks(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            mark(path, "step begins", step=state.global_step + 1)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            mark(path, "step ends", step=state.global_step)
            if first_step_only:
                os._exit(0)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "train_runtime" not in logs:
                figures = {"reward": logs.get(REWARD), "num_tokens": logs.get("num_tokens")}
                mark(path, "step", step=state.global_step, **figures)

    return Marks()


class Stopwatch:
    """Seconds spent in some methods of a trainer; a method that calls another holds the other's time as well."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def watch(self, owner: Any, method: str, part: str) -> None:
        """Count the time of this method of this object under a name."""
        if hasattr(owner, method):
            setattr(owner, method, self.timed(getattr(owner, method), part))

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[part] += time.perf_counter() - start

        return call


class Sampling:
    """Counts of a trainer's sampling, which do not depend on the machine.

    Attributes:
        rollouts: scored so far.
        decode_steps: passes of the model while it samples, those over prompts among them.
        positions: tokens that those passes computed, padding and ended rows included.
        generated_tokens: tokens of the completions, up to their ends.
    """

    def __init__(self, trainer: Any) -> None:
        self.rollouts = self.decode_steps = self.positions = self.generated_tokens = 0
        self._sampling = False
        trainer.model.get_input_embeddings().register_forward_pre_hook(self._looked_up)
        trainer._generate = self._sampled(trainer._generate)
        trainer._generate_and_score_completions = self._scored(trainer._generate_and_score_completions)

    def _looked_up(self, module: Any, inputs: Any) -> None:
        if self._sampling:
            self.decode_steps += 1
            self.positions += inputs[0].numel()

    def _sampled(self, generate: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._sampling = True
            try:
                found = generate(*args, **kwargs)
            finally:
                self._sampling = False
            self.generated_tokens += sum(map(len, found[1]))
            return found

        return call

    def _scored(self, score: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.rollouts += 1
            return score(*args, **kwargs)

        return call

    def per_rollout(self) -> dict[str, float]:
        """Return the counts divided by the rollouts."""
        names = ("decode_steps", "positions", "generated_tokens")
        return {name: getattr(self, name) / max(self.rollouts, 1) for name in names}


def watched(trainer: Any) -> Stopwatch:
    """A stopwatch on the parts of a trainer's step."""
    watch = Stopwatch()
    for method, part in (
        ("_generate", "generation"),
        ("_calculate_rewards", "rewards"),
        ("_with_old_logps", "old log-probs"),
        ("compute_loss", "forward"),
        ("training_step", "training steps"),
        ("log", "logging"),
    ):
        watch.watch(trainer, method, part)
    watch.watch(trainer.accelerator, "backward", "backward")
    create = trainer.create_optimizer

    def create_optimizer(*args: Any, **kwargs: Any) -> Any:
        optimizer = create(*args, **kwargs)
        watch.watch(trainer.optimizer, "step", "optimizer")
        return optimizer

    trainer.create_optimizer = create_optimizer
    return watch
