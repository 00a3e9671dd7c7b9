"""How rows become batches, rollouts and optimizer steps."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from tests.training.trl_behaviours.behaviour import Behaviour
from tests.training.trl_behaviours.data_and_models import stream
from tests.training.trl_behaviours.losses import CLIPS, DEALT

BATCHED = {"steps_per_generation": None, "generation_batch_size": 12}
WHOLE_EPOCH = {"max_steps": -1, "num_train_epochs": 1, "steps_per_generation": 3}


def order(trainer: Any) -> Any:
    """Train; the prompts in the order in which they were asked."""
    asked: list[Any] = []
    generate = trainer._generate
    trainer._generate = lambda prompts: (asked.append(prompts), generate(prompts))[1]
    trainer.train()
    return asked


class Diary(TrainerCallback):
    """Keeps the events of a training."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.events.append(("begin", state.max_steps))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.events.append(("step", state.global_step))
        control.should_training_stop = state.global_step == 2

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self.events.append(("log", "loss" in logs, "reward" in logs))


def diary(trainer: Any) -> Any:
    trainer.train()
    return next(one for one in trainer.callback_handler.callbacks if isinstance(one, Diary)).events


def own_optimizer(trainer: Any) -> Any:
    """Train with momentum and a rate that is halved at each step."""
    import torch

    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1, momentum=0.9)
    trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, lambda step: 0.5**step)
    return trainer.train().global_step


def own_loss(trainer: Any) -> Any:
    trainer.compute_loss(trainer.model, {}, return_outputs=True)


BATCHES = [
    Behaviour("`num_iterations` 2", {"num_iterations": 2, "max_steps": 5}, quick=True),
    Behaviour(
        "`num_iterations` 2 over accumulated batches",
        {"num_iterations": 2, "gradient_accumulation_steps": 2},
        unlike=CLIPS,
        reason=DEALT,
    ),
    Behaviour("`steps_per_generation` 1", {"steps_per_generation": 1}),
    Behaviour("`steps_per_generation` 3", {"steps_per_generation": 3, "max_steps": 4}),
    Behaviour("`generation_batch_size`", BATCHED),
    Behaviour("`gradient_accumulation_steps` that fill a rollout", {"gradient_accumulation_steps": 2}),
    Behaviour("`gradient_accumulation_steps` over two rollouts", {"gradient_accumulation_steps": 4}),
    Behaviour(
        "`gradient_accumulation_steps` that do not divide a rollout",
        {"gradient_accumulation_steps": 2, "steps_per_generation": 3},
    ),
    Behaviour("more generations than rows of a batch", {"num_generations": 8}),
    Behaviour("several groups in a batch", {"num_generations": 2, "per_device_train_batch_size": 6}),
    Behaviour("groups cut by batches", {"num_generations": 6, "steps_per_generation": 3}),
    Behaviour("order of the prompts", act=order),
    Behaviour("`shuffle_dataset` off", {"shuffle_dataset": False}, act=order),
    Behaviour("order of a stream", rows=stream, act=order),
    Behaviour("a whole epoch", WHOLE_EPOCH, act=order),
    Behaviour("an epoch that leaves rows over", {**WHOLE_EPOCH, "steps_per_generation": 5}, act=order),
    Behaviour(
        "a rollout larger than the data",
        {"steps_per_generation": 16},
        ours="UsageError",
        unlike=("error",),
        reason="refused (UsageError); TRL ends after 0 steps and says nothing",
    ),
    Behaviour("`dataloader_num_workers`", {"dataloader_num_workers": 1, "max_steps": 1}),
    Behaviour("`dataloader_num_workers` with a stream", {"dataloader_num_workers": 1}, rows=stream),
    Behaviour(
        "`dispatch_batches` with a stream",
        {"accelerator_config": {"dispatch_batches": True}},
        rows=stream,
        raises="ValueError",
    ),
    Behaviour("`seed`", {"seed": 6}),
    Behaviour("`max_grad_norm`", {"max_grad_norm": 0.1}),
    Behaviour("`lr_scheduler_type` and `warmup_steps`", {"lr_scheduler_type": "cosine", "warmup_steps": 1}),
    Behaviour("`weight_decay`", {"weight_decay": 0.1}),
    Behaviour("`optim` adamw_torch", {"optim": "adamw_torch", "learning_rate": 1e-3}, tolerance=2e-3),
    Behaviour("an optimizer of one's own", act=own_optimizer),
    Behaviour("a callback that stops training", {"max_steps": 9}, options=lambda: {"callbacks": [Diary()]}, act=diary),
    Behaviour("`compute_loss` with outputs", act=own_loss, raises="ValueError"),
]
