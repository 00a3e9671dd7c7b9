"""Faults put into a run from inside, each made in the forked child before the command begins."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def at_step(step: int, method: str, fault: Callable[[Any], None], once: bool = True) -> Callable[[], None]:
    """Have `fault(trainer)` happen when the trainer's method is called after `step` optimizer steps."""

    def spoil() -> None:
        from gspo_lite.training.trainer import GSPOTrainer

        original = getattr(GSPOTrainer, method)
        done = []

        def spoiled(self: Any, *args: Any, **kwargs: Any) -> Any:
            if self.state.global_step >= step and self.model.training and not (once and done):
                done.append(True)
                fault(self)
            return original(self, *args, **kwargs)

        setattr(GSPOTrainer, method, spoiled)

    return spoil


def out_of_memory(_: Any) -> None:
    """What a GPU's allocator raises; there is none here to do it."""
    import torch

    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def tensor_too_large(_: Any) -> None:
    """Torch's own allocator refuses what no machine has, by a RuntimeError."""
    import torch

    torch.empty(1 << 50)


def little_memory(_: Any) -> None:
    """From here on the process gets 64 MiB more and no further; the next larger tensor meets that."""
    import torch

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20), resource.RLIM_INFINITY))
    torch.ones(512 << 18)


def python_without_memory(_: Any) -> None:
    """Python's allocator gives up, by a MemoryError."""
    bytearray(1 << 60)


def reward_raises(_: Any) -> None:
    from gspo_lite.errors import RewardError

    raise RewardError("reward `mine` raised ZeroDivisionError: division by zero")


def nan_loss(step: int) -> Callable[[], None]:
    """The loss of one step is NaN, and so is its gradient."""

    def spoil() -> None:
        from gspo_lite.training.trainer import LevelLoss

        original = LevelLoss._compute_loss

        def spoiled(self: Any, *args: Any, **kwargs: Any) -> Any:
            loss = original(self, *args, **kwargs)
            there = hasattr(self, "state") and self.state.global_step == step  # the self-test's trainer has none
            return loss * float("nan") if there else loss

        LevelLoss._compute_loss = spoiled

    return spoil


def nan_gradient(step: int) -> Callable[[], None]:
    """One number of one gradient of one step is infinite, the loss is sound."""

    def spoil() -> None:
        from transformers import TrainerCallback

        from gspo_lite.training import build

        class Poison(TrainerCallback):
            def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
                if state.global_step == step:
                    weight = next(p for p in model.parameters() if p.requires_grad and p.grad is not None)
                    weight.grad.view(-1)[0] = float("inf")

        before = build.watchers

        def poisoned(*args: Any) -> Iterator[Callable[[Any], Any]]:
            yield from before(*args)
            yield lambda trainer: Poison()

        build.watchers = poisoned

    return spoil


def overflowing_weight(step: int) -> Callable[[], None]:
    """A weight is infinite after one step, though the gradient was sound."""

    def overflow(trainer: Any) -> None:
        weight = next(p for p in trainer.model.parameters() if p.requires_grad)
        weight.data.view(-1)[0] = float("inf")

    def spoil() -> None:
        from gspo_lite.training.watch.guards import Guards

        original = Guards.on_optimizer_step

        def spoiled(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step == step:
                overflow(self.trainer)
            original(self, args, state, control, **rest)

        Guards.on_optimizer_step = spoiled

    return spoil


def file_size_limit(step: int, size: int) -> Callable[[], None]:
    """From `step` on no file can grow beyond `size` bytes: what a full disk does, as far as a program can tell."""
    return at_step(step, "_save_checkpoint", lambda _: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))


def little_room(step: int, free: int) -> Callable[[], None]:
    """From `step` on the disk says it has `free` bytes."""

    def shrink(_: Any) -> None:
        real = shutil.disk_usage
        shutil.disk_usage = lambda path: real(path)._replace(free=free)  # type: ignore[assignment]

    return at_step(step, "_save_checkpoint", shrink)


def no_room_for_metrics(step: int) -> Callable[[], None]:
    """metrics.jsonl meets a full disk."""

    def full(_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "metrics.jsonl")

    return at_step(step, "log", full)


def nobody() -> None:
    """Another user, who may not write here."""
    os.setgid(65534)
    os.setuid(65534)


def save_window(pipe: int) -> Callable[[], None]:
    """Say when a save begins (b"(") and ends (b")")."""

    def spoil() -> None:
        from gspo_lite.training.trainer import GSPOTrainer

        original = GSPOTrainer._save_checkpoint

        def spoiled(self: Any, *args: Any) -> None:
            os.write(pipe, b"(")
            original(self, *args)
            os.write(pipe, b")")

        GSPOTrainer._save_checkpoint = spoiled

    return spoil


def clock_jumps(step: int, seconds: float) -> Callable[[], None]:
    """The wall clock is set forward by so many seconds, or back."""
    import time

    def jump(_: Any) -> None:
        real = time.time
        time.time = lambda: real() + seconds

    return at_step(step, "_save_checkpoint", jump)
