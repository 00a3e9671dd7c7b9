"""Evaluation while training and by itself."""

from __future__ import annotations

from typing import Any

from tests.training.trl_behaviours import parts
from tests.training.trl_behaviours.behaviour import Behaviour
from tests.training.trl_behaviours.observing import CLOCK

EVERY_STEP = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4}


def held_out() -> dict[str, Any]:
    return {"eval_dataset": parts.rows_of(["w3 w4", "w9"])}


def by_name() -> dict[str, Any]:
    return {"eval_dataset": {"short": parts.rows_of(["w3"]), "long": parts.rows_of(["w3 w4 w5"])}}


def streamed() -> dict[str, Any]:
    return {"eval_dataset": parts.rows_of(["w3 w4", "w9"]).to_iterable_dataset()}


def evaluated(trainer: Any) -> Any:
    """Evaluate without training; the figures."""
    figures = trainer.evaluate()
    return {name: value for name, value in figures.items() if not any(one in name for one in CLOCK)}


def before_and_after(trainer: Any) -> Any:
    before = evaluated(trainer)
    trainer.train()
    return before, evaluated(trainer)


def best(trainer: Any) -> Any:
    """Train; what is remembered of the best checkpoint."""
    trainer.train()
    return trainer.state.best_global_step, trainer.state.best_metric


EVALUATIONS = [
    Behaviour("`eval_strategy` steps", EVERY_STEP, options=held_out, quick=True),
    Behaviour("`eval_on_start`", {**EVERY_STEP, "eval_on_start": True, "eval_steps": 2}, options=held_out),
    Behaviour("`num_generations_eval` 1", {**EVERY_STEP, "num_generations_eval": 1}, options=held_out),
    Behaviour("`num_generations_eval` 2", {**EVERY_STEP, "num_generations_eval": 2}, options=held_out),
    Behaviour("evaluation data by name", EVERY_STEP, options=by_name),
    Behaviour("evaluation data as a stream", EVERY_STEP, options=streamed),
    Behaviour("evaluation with a reference", {**EVERY_STEP, "beta": 0.1}, options=held_out),
    Behaviour(
        "evaluation with several rewards", EVERY_STEP, rewards=lambda: [parts.distinct, parts.early], options=held_out
    ),
    Behaviour("`evaluate` by itself", {"per_device_eval_batch_size": 4}, options=held_out, act=evaluated),
    Behaviour("`evaluate` before and after", {"per_device_eval_batch_size": 4}, options=held_out, act=before_and_after),
    Behaviour("`evaluate` without data", act=evaluated, raises="ValueError"),
    Behaviour(
        "evaluation data as a list",
        {"per_device_eval_batch_size": 4},
        options=lambda: {"eval_dataset": ["w3", "w4"]},
        act=evaluated,
        unlike=("error",),
        reason="a list of prompts or of rows is taken as data; TRL fails on it",
        raises="TypeError",
    ),
    Behaviour(
        "an evaluation batch that cuts groups",
        {**EVERY_STEP, "per_device_eval_batch_size": 6},
        options=held_out,
        config=True,
        raises="ValueError",
    ),
    Behaviour(
        "`load_best_model_at_end`",
        {
            **EVERY_STEP,
            "save_strategy": "steps",
            "save_steps": 1,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_reward",
        },
        options=held_out,
        act=best,
    ),
]
