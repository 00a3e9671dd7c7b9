"""Checkpoints that are complete or absent: written to a staging folder, described by a manifest, renamed into place.

Transformers writes model, optimizer, scheduler, random numbers and trainer state; this redirects it, adds the
unfinished rollout, checks what was written, and rotates. Works on stock TRL and on Unsloth's trainer, because both save
through `Trainer._save_checkpoint`. Must not know recipes or commands.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerState
from transformers.trainer_utils import TrainOutput

from gspo_lite.errors import NotSaved, UsageError
from gspo_lite.system import processes, run_folder, stopping
from gspo_lite.training.checkpoint import manifest
from gspo_lite.training.checkpoint.numeric_state import not_finite, random_states, restore_random_states
from gspo_lite.training.checkpoint.rollout_state import read_state, write_state
from gspo_lite.training.checkpoint.step import LastStep, StepBoundary
from gspo_lite.training.reference import ACTIVE, REFERENCE

ARGUMENTS = "training_args.bin"  # transformers pickles its arguments here, hub_token included; never read again
STATE = "trainer_state.json"
BATCHING = ("per_device_train_batch_size", "steps_per_generation", "gradient_accumulation_steps", "num_iterations")
STATES = 3  # numbers kept per trained weight: itself and Adam's two moments
BESIDES = 8 << 20  # bytes of tokenizer, configuration and states beside the weights
SPARE = 1.1  # factor on the last checkpoint's size that must be free for the next


class Checkpoints:
    """Mixin in front of the trainer; `needs` is what a checkpoint says it was made with."""

    # of the trainer
    args: Any
    state: Any
    model: Any
    num_generations: int
    num_iterations: int
    _step: int
    _buffered_inputs: list[dict[str, Any]] | None

    needs: dict[str, Any]
    last_step: LastStep | None  # None before the first step in this process
    _applying: bool  # from the optimizer step until its figures are written; nothing is saved in between
    _staging: str | None = None
    _resumed: str | None = None
    _bytes: int | None = None
    _own: Path | None = None  # the checkpoint that holds the present state: written or resumed from by this trainer

    def _begin_checkpoints(self, needs: dict[str, Any] | None) -> None:
        self.needs, self.last_step, self._applying = needs or {}, None, False
        self.add_callback(StepBoundary(self))  # type: ignore[attr-defined]

    def begin_step(self) -> None:
        """Hold signals back while an optimizer step is applied."""
        stopping.hold()
        self._applying = True

    def leave_step_out(self) -> None:
        """Note that the step has changed no weight, so that the last one can be saved."""
        self._applying = False

    def end_step(self) -> None:
        """Note that the step is applied and its figures are written; let signals through again."""
        self.leave_step_out()
        stopping.release()

    def train(self, resume_from_checkpoint: Any = None, **options: Any) -> Any:
        """Train, or resume from a checkpoint; True means the newest complete one of `output_dir`.

        Raises:
            UsageError: there is no complete checkpoint, or the data could not fill one rollout.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = str(manifest.only_complete(Path(self.args.output_dir)).path)
        self._resumed = resume_from_checkpoint or None
        self._own = None if self._resumed is None else Path(self._resumed)
        if self._resumed is not None:
            state = trainer_state(self._resumed)
            if state["global_step"] >= self.args.max_steps > 0 or self._has_ended(state):
                return self._already_trained(self._resumed)  # transformers would take one more step
        result = super().train(resume_from_checkpoint=self._resumed, **options)  # type: ignore[misc]
        if result.global_step == 0:
            raise UsageError(
                "no step was taken: `train_dataset` ended before it filled one rollout of "
                f"{self.args.prompts_per_rollout} prompts",
                "lower per_device_train_batch_size, steps_per_generation or sample_factor, or add prompts",
            )
        return result

    def _already_trained(self, checkpoint: str) -> TrainOutput:
        """Return what training returns, of a checkpoint that has all its steps."""
        self._load_from_checkpoint(checkpoint)
        self.state = TrainerState.load_from_json(str(Path(checkpoint) / STATE))
        self.state.best_model_checkpoint = best = self._best_of(Path(checkpoint).parent)
        if manifest.is_last(Path(checkpoint), Path(self.args.output_dir)):  # a kill may have left what goes at the end
            self._rotate(Path(best if best is not None and self.args.save_total_limit == 1 else checkpoint))
        if self.args.load_best_model_at_end and best is not None:
            self._load_best_model()  # type: ignore[attr-defined]
        losses = [one["loss"] for one in self.state.log_history if "loss" in one]
        return TrainOutput(self.state.global_step, sum(losses) / max(len(losses), 1), {})

    def save_last_step(self) -> Path | None:
        """Save the last finished step and return its folder; None if there is none, or a step is half applied.

        Raises:
            NotSaved: it cannot be written; earlier checkpoints stay.
        """
        last = self.last_step
        if last is None or self._applying:
            return None
        self.model.zero_grad(set_to_none=True)
        with self._as_of(last):
            self._save_checkpoint(self.model, None)
        path = Path(self.args.output_dir) / f"checkpoint-{last.step}"
        return path if path.is_dir() else None

    def roll_back(self) -> int | None:
        """Restore only weights, optimizer and schedule of the newest complete checkpoint; return its step, if any."""
        found = manifest.newest_complete(Path(self.args.output_dir)).checkpoint
        if found is None:
            return None
        self._load_from_checkpoint(str(found.path))
        super()._load_optimizer_and_scheduler(str(found.path))  # type: ignore[misc]
        return found.step

    @contextmanager
    def _as_of(self, last: LastStep) -> Iterator[None]:
        """Undo within the context what the unfinished step has changed."""
        now = random_states()
        restore_random_states(last.rng)
        self.state.num_input_tokens_seen = last.tokens
        try:
            yield
        finally:
            restore_random_states(now)

    def remember_step(self) -> None:
        """Record the state of the run right after an optimizer step."""
        inside = self._step % (self.args.steps_per_generation * self.num_iterations)
        batches, step, tokens = self._buffered_inputs, self.state.global_step, self.state.num_input_tokens_seen
        left = batches if inside else None
        self.last_step = LastStep(step, self._step, left, tokens, self._counters(), random_states())

    def _counters(self) -> dict[str, Any]:
        """Return the counters that a rollout changes."""
        return {}

    def _guard_counters(self) -> dict[str, Any]:
        """Return the counters that only a finished step changes."""
        return {}

    def _has_ended(self, state: dict[str, Any]) -> bool:
        """Return whether training ended at this state of a checkpoint, though not all its steps are taken."""
        return False

    def _restore_counters(self, counters: dict[str, Any], guards: dict[str, Any]) -> None:
        """Restore what `_counters` and `_guard_counters` returned."""

    def _get_output_dir(self, trial: Any = None) -> str:
        return self._staging or super()._get_output_dir(trial)  # type: ignore[misc]

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)  # type: ignore[misc]
        folder = Path(output_dir or self.args.output_dir)
        (folder / ARGUMENTS).unlink(missing_ok=True)
        shutil.rmtree(folder / REFERENCE, ignore_errors=True)  # a trainer makes it of the adapter it is given

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the trained weights, also where a reference lies beside them: transformers loads only that one then."""
        super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        if (Path(resume_from_checkpoint) / REFERENCE).is_dir():
            self.model.load_adapter(resume_from_checkpoint, ACTIVE, is_trainable=True)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        checkpoints = Path(super()._get_output_dir(trial))  # type: ignore[misc]
        step = self.state.global_step
        final = checkpoints / f"checkpoint-{step}"
        if final == self._own:
            return
        broken = not_finite(self.model, self.optimizer)  # type: ignore[attr-defined]
        if broken is not None:
            raise NotSaved(
                f"`{broken}` is no longer finite after step {step}; the step is not saved, earlier checkpoints are",
                "lower training.learning_rate; training.guards sets what to do when a gradient is not finite",
            )
        checkpoints.mkdir(parents=True, exist_ok=True)
        self._refuse_full_disk(checkpoints)
        staging = checkpoints / f"{manifest.STAGING}{step}"
        if processes.is_main():
            shutil.rmtree(staging, ignore_errors=True)
        processes.wait()
        try:
            self._write(staging, step, model, trial)
            processes.wait()
            if processes.is_main():
                self._bytes = manifest.write_manifest(staging / final.name, step, self.needs)
                manifest.publish(staging / final.name, final)
            self._own = final
        except Exception as error:  # a full disk raises OSError here, RuntimeError in torch, another in safetensors
            raise self._not_written(final, error) from error
        finally:
            if processes.is_main():
                shutil.rmtree(staging, ignore_errors=True)
        self._rotate(final)
        processes.wait()

    def _rotate(self, newest: Path) -> None:
        """Remove the checkpoints beyond `save_total_limit`, but neither the newest nor the best."""
        if processes.is_main():
            manifest.rotate(newest.parent, newest, self.args.save_total_limit, self._best_of(newest.parent))

    def _write(self, staging: Path, step: int, model: Any, trial: Any) -> None:
        """Write a checkpoint without its manifest below `staging`; each process adds its own part."""
        self._staging = str(staging)
        try:
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
        finally:
            self._staging = None
        folder = staging / f"checkpoint-{step}"
        self.state.best_model_checkpoint = best = self._best_of(staging.parent)
        if best is not None and processes.is_main():
            self.state.save_to_json(str(folder / STATE))  # transformers wrote the staging folder's name
        (folder / ARGUMENTS).unlink(missing_ok=True)  # whichever method of transformers wrote it
        last = self.last_step
        if last is not None and last.step == step:
            facts = {"passes": last.passes, "counters": last.counters, "guards": self._guard_counters()}
            facts["batching"] = {name: getattr(self.args, name) for name in BATCHING}
            write_state(folder, facts, last.batches)
        for name in (run_folder.METRICS, run_folder.COMPLETIONS):  # no checkpoint may be ahead of its metrics
            path = staging.parent.parent / name
            if path.is_file():
                manifest.flush(path)

    def _best_of(self, checkpoints: Path) -> str | None:
        """Return the checkpoint of the step with the best metric so far; None without one."""
        best = self.state.best_global_step
        kept = best == self.state.global_step or (checkpoints / f"checkpoint-{best}").is_dir()
        return str(checkpoints / f"checkpoint-{best}") if best and kept else None

    def _refuse_full_disk(self, checkpoints: Path) -> None:
        """Refuse a checkpoint that will not fit, before half of it is written."""
        needed, free = self._bytes_needed(), shutil.disk_usage(checkpoints).free
        if free < needed:
            raise NotSaved(
                f"a checkpoint in `{checkpoints}` needs about {needed:,} bytes, but only {free:,} are free",
                "free some space and add --resume; earlier checkpoints are complete",
            )

    def _bytes_needed(self) -> int:
        """Return the size of the next checkpoint: the last one's, or the sum of its parts."""
        if self._bytes is not None:
            return int(self._bytes * SPARE)
        trained = sum(p.numel() * p.element_size() for p in self.model.parameters() if p.requires_grad)
        return trained * STATES + BESIDES

    def _not_written(self, final: Path, error: Exception) -> NotSaved:
        needed, free = self._bytes_needed(), shutil.disk_usage(final.parent).free
        return NotSaved(
            f"the checkpoint `{final}` could not be written: {error}; it needs about {needed:,} bytes, "
            f"but {free:,} are free",
            "free some space and add --resume; earlier checkpoints are complete",
        )

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        if checkpoint is not None:
            self.state.best_model_checkpoint = self._best_of(Path(checkpoint).parent)  # the folder may have moved
        facts, batches = ({}, None) if checkpoint is None else read_state(Path(checkpoint), self.args.device)
        if facts:
            self._refuse_other_batching(facts.get("batching", {}), inside=batches is not None)
            self._step, self._buffered_inputs = facts["passes"], batches
            self._restore_counters(facts["counters"], facts["guards"])

    def _refuse_other_batching(self, saved: dict[str, int], *, inside: bool) -> None:
        """Refuse to continue an unfinished rollout with batches of another size."""
        now = {name: getattr(self.args, name) for name in saved}
        changed = [f"`{name}` was {saved[name]}, is {now[name]}" for name in saved if saved[name] != now[name]]
        if inside and changed:
            message = f"the checkpoint is inside a rollout, whose batches are fixed: {', '.join(changed)}"
            raise UsageError(message, "keep the values, or resume from a checkpoint between two rollouts")

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        """Return the data order; a resumed run first draws the orders of the finished epochs."""
        sampler = super()._get_train_sampler(*args, **kwargs)  # type: ignore[misc]
        if self._resumed is not None and getattr(sampler, "generator", None) is not None:
            for _ in range(int(trainer_state(self._resumed)["epoch"] or 0)):
                torch.randperm(sampler.num_samples, generator=sampler.generator)
        return sampler


def trainer_state(checkpoint: str) -> dict[str, Any]:
    """Return transformers' record of a checkpoint: `global_step`, `epoch` and more."""
    return run_folder.read_json(Path(checkpoint) / STATE)
