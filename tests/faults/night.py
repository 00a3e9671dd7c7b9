"""Runs left alone for a night: the best step is kept and training ends early, whatever kills them in between.

Each run is made to collapse, by a learning rate that rises until it is far too high. It is killed at random moments,
most of them around an evaluation or a save, and resumed until it is through. Then it must equal its twin that nothing
disturbed, and hold the best step. Two paths: a recipe, and `GSPOTrainer` with TRL's own evaluation and settings.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.cases import Bench, Row, steps_done, whole_step
from tests.faults.zygote import Run, differing, outcome, rows_of, start

COLLAPSE = (
    "data.limit=64", "data.eval.limit=48", "data.eval.batch_size=48", "training.max_steps=16",
    "training.learning_rate=5e-3", "training.warmup_steps=16", "training.eval_steps=2", "training.save_steps=4",
    "output.keep_best=true",
)  # fmt: skip
EARLY = (*COLLAPSE, "training.stop_early=3")
MOMENTS = ("training_step", "log", "evaluate", "_save_checkpoint", "_load_best_model", "save_model")
TIMES = ("runtime", "step_time", "per_second", "/seconds")


def killed_around(method: str, call: int, seconds: float) -> Callable[[], None]:
    """Kill -9, so many seconds after the trainer's method has begun for the `call`th time."""

    def spoil() -> None:
        from gspo_lite.training.trainer import GSPOTrainer

        original, left = getattr(GSPOTrainer, method), [call]

        def spoiled(self: Any, *args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
            return original(self, *args, **kwargs)

        setattr(GSPOTrainer, method, spoiled)

    return spoil


def random_kill(rng: random.Random) -> Callable[[], None]:
    return killed_around(rng.choice(MOMENTS), rng.randint(1, 4), rng.uniform(0, 0.4))


def recipe_run(folder: Path, sets: tuple[str, ...], resume: bool, spoil: Callable[[], None] | None) -> Run:
    return start(folder, *(["--resume"] if resume else []), sets=sets, spoil=spoil)


def python_run(folder: Path, sets: tuple[str, ...], resume: bool, spoil: Callable[[], None] | None) -> Run:
    """The same by Python code as TRL's users write it, in a child that never reaches the command line."""
    limit = json.loads(sets[-1].partition("=")[2])

    def train_instead() -> None:
        if spoil is not None:
            spoil()
        train_in_python(folder, limit)
        raise SystemExit(0)

    return start(folder, spoil=train_instead)


def train_in_python(folder: Path, limit: int | None) -> None:
    import torch
    from datasets import Dataset
    from peft import LoraConfig

    from gspo_lite import GSPOConfig, GSPOTrainer

    args = GSPOConfig(
        output_dir=str(folder / "checkpoints"), use_cpu=True, bf16=False, report_to="none", disable_tqdm=True,
        per_device_train_batch_size=8, max_completion_length=24, max_steps=16, learning_rate=5e-3, warmup_steps=16,
        lr_scheduler_type="constant_with_warmup", logging_steps=1, eval_strategy="steps", eval_steps=2,
        save_strategy="steps", save_steps=2, save_total_limit=limit, load_best_model_at_end=True,
        metric_for_best_model="eval_reward", greater_is_better=True, per_device_eval_batch_size=16,
    )  # fmt: skip
    rows = [{"prompt": [{"role": "user", "content": f"What is {a} + 27?"}], "answer": str(a + 27)} for a in range(64)]
    data, lora = [Dataset.from_list(part) for part in (rows[16:], rows[:16])], LoraConfig(target_modules="all-linear")
    torch.manual_seed(3)  # of the adapter
    trainer = GSPOTrainer("starter", right, args, *data, peft_config=lora)
    resume = any((folder / "checkpoints").glob("checkpoint-*/manifest.json"))
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model(str(folder / "adapter"))
    history = [
        {key: value for key, value in row.items() if not any(key.endswith(one) for one in TIMES)}
        for row in trainer.state.log_history
        if "train_runtime" not in row
    ]
    (folder / "history.json").write_text(json.dumps([trainer.state.best_global_step, history]))


def right(completions: Any, answer: Any, **_: Any) -> list[float]:
    return [float(f"<answer>{a}</answer>" in one[0]["content"]) for one, a in zip(completions, answer, strict=True)]


def of_recipe(folder: Path) -> dict[str, Any]:
    """The outcome of a recipe's run, with its events, its best step and the checkpoints that are left."""
    events = rows_of(folder / "events.jsonl") if (folder / "events.jsonl").is_file() else []
    rows = [row for row in rows_of(folder / "metrics.jsonl") if "eval_accuracy" in row]
    best = max(rows, key=lambda row: row["eval_accuracy"])["step"]
    kept = json.loads((folder / "eval.json").read_text())["after"]["step"]
    return outcome(folder) | {"events": events, "best": [best, kept], "left": checkpoints(folder)}


def of_python(folder: Path) -> dict[str, Any]:
    kept, history = json.loads((folder / "history.json").read_text())
    rows = [row for row in history if "eval_reward" in row]
    best = max(rows, key=lambda row: row["eval_reward"])["step"]
    weights = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
    return {"weights": weights, "metrics": history, "best": [best, kept], "left": checkpoints(folder)}


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").glob("checkpoint-*"))


PATHS = {"recipe": (recipe_run, of_recipe), "Python": (python_run, of_python)}


def best_is_kept(bench: Bench, tries: int, path: str, limit: int | None, sets: tuple[str, ...] = COLLAPSE) -> Row:
    """Kills at random moments, several in one run, until there were so many; each run ends like the undisturbed one."""
    begin, end = PATHS[path]
    early = ", stop_early" if "training.stop_early" in str(sets) else ""
    row = Row(f"kill -9, best kept, {path}, limit {limit}{early}")
    sets = (*sets, f"output.save_total_limit={json.dumps(limit)}")
    whole = begin(folder := bench.folder("night"), sets, False, None)
    assert whole.wait() == 0, whole.text()
    expected = end(folder)
    wrong = problems_of(folder, expected)
    row.notes.append(f"best step {expected['best'][0]} of {steps_done(folder) or len(expected['metrics'])}")
    while row.tried < tries:
        folder, kills, lost = bench.folder("night"), 0, 0
        while row.tried + kills < tries and kills < 6:
            run = begin(folder, sets, kills > 0, random_kill(bench.random))
            if run.wait() == 0:
                break
            kills += 1
            lost += max(steps_done(folder) - whole_step(folder), 0)
        run = begin(folder, sets, True, None)
        problems = wrong or ([] if run.wait() == 0 else [f"ended with {run.code}: {run.text()[-400:]}"])
        found = end(folder) if not problems else expected
        problems = problems or [f"{name} differ" for name in differing(expected, found)] + problems_of(folder, found)
        for index in range(kills):
            row.count(problems, 0 if index else lost)
        shutil.rmtree(folder, ignore_errors=True)
    return row


def problems_of(folder: Path, found: dict[str, Any]) -> list[str]:
    """What is wrong with a run that ended: another step than the best is kept, or its weights are not saved."""
    best, kept = found["best"]
    if best != kept:
        return [f"step {best} is the best, but {kept} is kept"]
    at_best, saved = (
        folder / name / "adapter_model.safetensors" for name in (f"checkpoints/checkpoint-{best}", "adapter")
    )
    if not at_best.is_file():
        return [f"the checkpoint of step {best} is gone"]
    return [] if at_best.read_bytes() == saved.read_bytes() else [f"the saved adapter is not that of step {best}"]
