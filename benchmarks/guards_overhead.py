"""What all guards and callbacks of a run cost per optimizer step: two trainers of one recipe take turns, one has none.

    OMP_NUM_THREADS=1 python benchmarks/guards_overhead.py [--recipe NAME] [--set K=V ...] [--rounds 7] [--json FILE]

Guarded: what `gspo-lite run` builds, with finite checks of loss, gradients and weights, the signs of collapse, what a
checkpoint would need to remember, metrics.jsonl, completions.jsonl, progress. Bare: the same trainer without any. Both
sample and train alike, which is checked. CPU seconds of the process are compared beside wall seconds, because other
programs on the machine move only the latter. A checkpoint is timed by itself: how often there is one is the recipe's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

OURS = ("MetricsWriter", "CompletionsWriter", "Progress", "NoiseFloor", "Guards", "StepBoundary")


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as home, open(os.devnull, "w") as nowhere:
        with contextlib.redirect_stderr(nowhere):  # the progress lines are part of what is measured
            guarded, bare = (trainer_of(options, Path(home) / name, name == "guarded") for name in ("guarded", "bare"))
            seconds = [(spent(guarded), spent(bare)) for _ in range(options.rounds + 1)][1:]  # the first warms up
        assert losses(guarded) == losses(bare), "the guards changed a step"
        found = {**result(seconds, options.steps), **saving(guarded), "recipe": options.recipe, "set": options.set}
    for name, value in found.items():
        print(f"{name:44} {value}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def trainer_of(options: argparse.Namespace, folder: Path, guarded: bool) -> Any:
    """The trainer of a run, with all that `gspo-lite run` puts around it or with nothing."""
    from gspo_lite import load_recipe
    from gspo_lite.load_parts import load_parts
    from gspo_lite.training import build
    from gspo_lite.training.watch.guards import FiniteLoss

    class Bare(build.GSPOTrainer):  # type: ignore[name-defined, misc]
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            return super(FiniteLoss, self).training_step(*args, **kwargs)

    folder.mkdir()
    sets = [*options.set, f"training.max_steps={options.steps}", "training.save_steps=null"]
    recipe = load_recipe(options.recipe, sets, output=str(folder)).recipe
    parts = load_parts(recipe)
    full = build.GSPOTrainer
    build.GSPOTrainer = full if guarded else Bare  # type: ignore[misc]
    loaded = parts.loaded
    trainer = build.build_trainer(
        recipe, folder, loaded.model, loaded.processing_class, parts.rewards, parts.problems.train, parts.args
    )
    build.GSPOTrainer = full  # type: ignore[misc]
    for callback in [] if guarded else list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in OURS:
            trainer.remove_callback(callback)
    left = {type(callback).__name__ for callback in trainer.callback_handler.callbacks} & set(OURS)
    assert left == (set(OURS) if guarded else set()), left
    return trainer


def spent(trainer: Any) -> tuple[float, float]:
    """Wall and CPU seconds of all steps, from the same random numbers each time."""
    from transformers import TrainerCallback, set_seed

    begins: list[tuple[float, float]] = []

    class Stopwatch(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            begins.append((time.perf_counter(), time.process_time()))

        def on_train_end(self, *_: Any, **__: Any) -> None:
            begins.append((time.perf_counter(), time.process_time()))

    watch = Stopwatch()
    trainer.callback_handler.callbacks.insert(0, watch)
    set_seed(trainer.args.seed)
    trainer._step, trainer._buffered_inputs = 0, None
    trainer.train()
    trainer.callback_handler.callbacks.remove(watch)
    return begins[-1][0] - begins[0][0], begins[-1][1] - begins[0][1]


def losses(trainer: Any) -> list[float]:
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def result(rounds: list[tuple[tuple[float, float], tuple[float, float]]], steps: int) -> dict[str, Any]:
    """Medians over the rounds, and the median of each round's own ratio."""
    found: dict[str, Any] = {"rounds": len(rounds), "steps per round": steps}
    for index, clock in enumerate(("wall", "CPU")):
        pairs = [(guarded[index], bare[index]) for guarded, bare in rounds]
        ratios = sorted(guarded / bare - 1 for guarded, bare in pairs)
        found[f"{clock} s per step, guarded"] = round(statistics.median(one for one, _ in pairs) / steps, 4)
        found[f"{clock} s per step, bare"] = round(statistics.median(one for _, one in pairs) / steps, 4)
        found[f"overhead, {clock}"] = f"{statistics.median(ratios):+.2%}"
        found[f"overhead, {clock}, lowest and highest round"] = f"{ratios[0]:+.2%} to {ratios[-1]:+.2%}"
    return found


def saving(trainer: Any) -> dict[str, Any]:
    """Seconds and size of one checkpoint, fsync and sha256 included."""
    times, size = [], 0
    for _ in range(3):
        start = time.perf_counter()
        trainer._save_checkpoint(trainer.model, None)
        times.append(time.perf_counter() - start)
        path = Path(trainer.args.output_dir) / f"checkpoint-{trainer.state.global_step}"
        size = sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
        shutil.rmtree(path)
    return {"a checkpoint, s": round(statistics.median(times), 3), "a checkpoint, MiB": round(size / 2**20, 1)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="quickstart")
    parser.add_argument("--set", action="append", default=[], metavar="K=V")
    parser.add_argument("--steps", type=int, default=8, help="optimizer steps of one round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the result there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
