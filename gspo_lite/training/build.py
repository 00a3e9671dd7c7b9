"""Builds the trainer of a run from its recipe, runs it, and explains errors. Must not know evaluation or reports."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from gspo_lite.errors import RunError
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system import processes, run_folder, stopping
from gspo_lite.system.environment import training_versions
from gspo_lite.system.say import say, warn
from gspo_lite.tools.load import NO_TOOLS, Tools
from gspo_lite.training.changes import changed, refuse_or_tell, settings_of
from gspo_lite.training.checkpoint.manifest import Checkpoint, newest_complete, tidy
from gspo_lite.training.config import GSPOConfig
from gspo_lite.training.trainer import GSPOTrainer
from gspo_lite.training.watch import trackers
from gspo_lite.training.watch.callbacks import CompletionsWriter, HeapTrimmer, MetricsWriter, NoiseFloor, Progress
from gspo_lite.training.watch.held_out import Measure

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# How torch's CPU allocator and CUDA libraries word a plain RuntimeError.
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "STATUS_ALLOC_FAILED")


def build_trainer(
    recipe: Recipe,
    folder: Path,
    model: Any,
    processing: Any,
    rewards: list[Any],
    dataset: Any,
    args: GSPOConfig,
    *,
    tools: Tools = NO_TOOLS,
    code: dict[str, dict[str, str]] | None = None,
    measure: Measure | None = None,
    held_out: Any = None,
    measure_noise: bool = False,
) -> GSPOTrainer:
    """Return the trainer of this recipe, with the callbacks that write the run folder and show progress.

    Args:
        tools: what the model may call.
        code: hashes of a user's code, as `custom_code` returns them, for checkpoints to keep.
        measure: returns figures of `held_out`, the problems of `training.eval_steps`.
        measure_noise: keep the log ratio of every sequence in `gauges.kept`, for `gspo-lite probe`.
    """
    wanted, note = settings_of(args), partial(run_folder.note_event, folder)
    needs: dict[str, Any] = {"recipe": recipe.model_dump(mode="json"), **(code or {})}
    needs |= {"processes": processes.count(), "versions": training_versions()}
    trainer = GSPOTrainer(
        model,
        rewards,
        args=args,
        train_dataset=dataset,
        eval_dataset=held_out,
        processing_class=processing,
        credits=[reward.credit for reward in recipe.rewards],
        credit_estimator=recipe.objective.credit_estimator,
        gamma=recipe.objective.gamma,
        tools=tools.functions,
        environment_factory=tools.environment,
        tool_limits=tools.limits,
        needs=needs,
        watchers=list(watchers(recipe, folder, rewards, args, note)) if processes.is_main() else (),
        guards=None if measure_noise else recipe.training.guards,  # a probe trains nothing
        measure=measure,
        stop_early=recipe.training.stop_early,
        note=note,
        measure_noise=measure_noise,
    )
    for line in refuse_or_tell(changed(wanted, trainer)):
        say(f"note     {line}")
    trainer.remove_callback(transformers.PrinterCallback)
    if processes.is_main():
        trackers.place(trainer, folder, recipe)
    return trainer


def watchers(
    recipe: Recipe, folder: Path, rewards: list[Any], args: GSPOConfig, note: Callable[..., None]
) -> Iterator[Callable[[Any], Any]]:
    """Yield factories of the callbacks that write the run folder and show progress; `note` records warnings."""
    yield lambda trainer: MetricsWriter(folder / run_folder.METRICS)
    takers: list[Any] = [partial(run_folder.append_jsonl, folder / run_folder.COMPLETIONS), *trackers.tables(recipe)]
    yield lambda trainer: CompletionsWriter(trainer, recipe.output.completions_per_step, takers)
    yield lambda trainer: Progress(next((one.__name__ for one in rewards if one.judges), None))
    yield lambda trainer: HeapTrimmer()
    if args.importance_sampling_level != "token":
        yield lambda trainer: NoiseFloor(min(args.epsilon, trainer.epsilon_high), note)


def train(trainer: GSPOTrainer, folder: Path, checkpoint: Checkpoint | None = None, *, resume: bool = False) -> None:
    """Run all steps, from `checkpoint` if there is one; save the last finished step if training ends early.

    Args:
        resume: keep what an earlier run left in the folder, up to the checkpoint's step.

    Raises:
        RunError: training cannot continue. KeyboardInterrupt, Terminated: the user or the system stopped it.
    """
    if resume and processes.is_main():
        for name in (run_folder.METRICS, run_folder.COMPLETIONS, run_folder.EVENTS):
            run_folder.keep_until(folder / name, 0 if checkpoint is None else checkpoint.step)
        tidy(folder / run_folder.CHECKPOINTS, checkpoint)
    failed = True
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint.path))
        failed = False
    except BaseException as error:
        stopping.hold()
        raise_explained(error, trainer, folder, save_first(trainer, error))
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, Progress):
                callback.close()
        trackers.close(trainer, failed)
        stopping.release()


def save_first(trainer: GSPOTrainer, error: BaseException) -> str:
    """Save the last finished step; return a line that names the checkpoint to continue from."""
    try:
        # Several processes may be in different steps; they only save at training.save_steps.
        if processes.count() == 1 and not (isinstance(error, RunError) and not error.worth_saving):
            trainer.save_last_step()
    except RunError as refused:
        warn(refused.message)
    found = newest_complete(Path(trainer.args.output_dir)).checkpoint
    if found is None:
        return "no step was saved"
    return f"`{found.path}` holds step {found.step}; continue from it with --resume, in Python resume=True"


def raise_explained(error: BaseException, trainer: GSPOTrainer, folder: Path, saved: str) -> None:
    """Raise the error again, explained where its own message is not clear, after saying what was saved."""
    step = trainer.state.global_step + 1
    say(f"stopped  in step {step}; {saved}")
    if out_of_memory(error):
        raise RunError(
            f"out of memory at step {step}; the run folder `{folder}` is kept",
            "lower training.per_device_train_batch_size, generation.max_completion_length or model.max_seq_length",
        ) from error
    if type(error).__name__ == "UnpicklingError":  # torch.load takes nothing else
        raise RunError(
            f"a file of the checkpoint is not plain data and was not loaded: {str(error).splitlines()[0]}",
            "resume from a checkpoint of a run you trust, or start over",
        ) from error
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        raise RunError(f"`{error.filename or folder}`: {error.strerror}", "free some space and add --resume") from error
    raise error


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the GPU or the machine ran out of memory."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    plain = type(error) is RuntimeError and any(words in str(error) for words in NO_MEMORY)
    return plain or isinstance(error, torch.OutOfMemoryError | MemoryError)
