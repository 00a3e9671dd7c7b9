"""Builds the trainer of a run from its recipe and runs it, naming what can go wrong in plain words.

Owns the joining of configuration, callbacks and trainer. Must not know evaluation or reports.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.trainer_utils import get_last_checkpoint

from gspo_lite import folder as run_folder
from gspo_lite.errors import GspoLiteError, RunError
from gspo_lite.recipe.schema import Recipe
from gspo_lite.training.callbacks import CompletionsWriter, MetricsWriter, NoiseFloor, Progress
from gspo_lite.training.changes import changed, refuse_or_tell, settings_of
from gspo_lite.training.config import GSPOConfig
from gspo_lite.training.trainer import GSPOTrainer

ACCURACY_REWARDS = ("math_correct", "numeric_match", "exact_match")


def build_trainer(
    recipe: Recipe, folder: Path, model: Any, processing: Any, rewards: list[Any], dataset: Any, args: GSPOConfig
) -> GSPOTrainer:
    """The trainer of this recipe with the callbacks that write and show."""
    wanted = settings_of(args)
    trainer = GSPOTrainer(
        model,
        rewards,
        args=args,
        train_dataset=dataset,
        processing_class=processing,
        credits=[reward.credit for reward in recipe.rewards],
        credit_estimator=recipe.objective.credit_estimator,
    )
    for line in refuse_or_tell(changed(wanted, trainer)):
        print(f"note     {line}", file=sys.stderr, flush=True)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(MetricsWriter(folder / run_folder.METRICS))
    count = recipe.output.completions_per_step
    trainer.add_callback(CompletionsWriter(folder / run_folder.COMPLETIONS, count, lambda: trainer.rollout))
    shown = next((reward.name for reward in recipe.rewards if reward.name in ACCURACY_REWARDS), None)
    trainer.add_callback(Progress(shown))
    if args.importance_sampling_level != "token":
        trainer.add_callback(NoiseFloor(min(args.epsilon, trainer.epsilon_high)))
    return trainer


def train(trainer: GSPOTrainer, folder: Path, *, resume: bool) -> None:
    """Run all steps, from the newest checkpoint where `resume` finds one.

    Raises:
        RunError: where training cannot go on; what was written stays.
    """
    checkpoint = newest_checkpoint(folder) if resume else None
    if checkpoint is not None:
        step = int(checkpoint.rsplit("-", 1)[1])
        for name in (run_folder.METRICS, run_folder.COMPLETIONS):
            run_folder.keep_until(folder / name, step)
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except GspoLiteError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise RunError(
            f"out of memory at step {trainer.state.global_step + 1}; the run folder `{folder}` is kept",
            "lower training.per_device_train_batch_size, generation.max_completion_length or model.max_seq_length",
        ) from error
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, Progress):
                callback.close()


def newest_checkpoint(folder: Path) -> str | None:
    """The checkpoint to go on from, or None where there is none."""
    checkpoints = folder / run_folder.CHECKPOINTS
    return get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
