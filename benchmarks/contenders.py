"""Starts a recipe through gspo-lite and through a plain TRL script, in turns and in processes of their own.

Owns what the plain script is told, and the moments that both report. Used by end_to_end.py and startup.py.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OURS = "ours"
RECIPE = "quickstart"
# Quick runs show that everything works; what they print is no measurement.
QUICK = ["training.max_steps=4", "training.per_device_train_batch_size=16", "data.limit=64", "data.eval.limit=16"]
# What TRL decides by itself in `trl defaults`, though the recipe has a word on the first.
TRL_DECIDES = ("gradient_checkpointing", "bf16", "fp16")


def write_settings(folder: Path, overrides: Sequence[str], *, defaults: bool = False) -> Path:
    """What plain_trl.py needs to know, as a file.

    Args:
        defaults: leave every field of GRPOConfig which the recipe's file does not name to TRL, and `TRL_DECIDES`.
    """
    from trl import GRPOConfig

    from gspo_lite.checked_recipe import load_recipe
    from gspo_lite.data.sources import load_problems
    from gspo_lite.models.names import resolve_name
    from gspo_lite.training.config import generation_fields, objective_fields, training_fields

    recipe = load_recipe(RECIPE, overrides).recipe
    objective, generation = objective_fields(recipe), generation_fields(recipe, use_vllm=False)
    training = training_fields(recipe)
    if defaults:
        generation = {name: generation[name] for name in recipe.generation.model_fields_set if name in generation}
        own = recipe.training.model_fields_set | {
            "use_cpu",
            "logging_steps",
            "disable_tqdm",
            "save_strategy",
            "report_to",
        }
        training = {name: value for name, value in training.items() if name in own and name not in TRL_DECIDES}
    known = {field.name for field in dataclasses.fields(GRPOConfig) if field.init}
    problems, lora = load_problems(recipe.data), recipe.model.lora
    settings = {
        "recipe": RECIPE,
        "set": list(overrides),
        "model": resolve_name(recipe.model.name),
        "train": problems.train.to_list(),
        "held_out": problems.held_out.to_list(),
        "lora": {
            "r": lora.rank,
            "lora_alpha": lora.alpha,
            "lora_dropout": lora.dropout,
            "target_modules": lora.target_modules,
        },
        "grpo": {name: value for name, value in (objective | generation | training).items() if name in known}
        | {"output_dir": str(folder / "plain")},
    }
    path = folder / f"settings{'-defaults' if defaults else ''}.json"
    path.write_text(json.dumps(settings))
    return path


def source_of(commit: str, folder: Path) -> Path:
    """Return a folder with the files of a commit of this repository, made in `folder`."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True)
    if packed.returncode:
        raise SystemExit(f"`{commit}` is no commit of {ROOT}: {packed.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        files.extractall(folder / commit, filter="data")
    return folder / commit


def words_of(contender: str, folder: Path, marks: Path, overrides: Sequence[str]) -> list[str]:
    """Script and arguments of a contender: `trl`, `trl defaults`, or gspo-lite as it is here or at a commit."""
    if not contender.startswith("trl"):
        sets = [word for override in [*overrides, "output.if_exists=overwrite"] for word in ("--set", override)]
        return ["marked_run.py", RECIPE, "--output", str(folder / "runs" / contender), "--marks", str(marks), *sets]
    name = "settings-defaults.json" if contender == "trl defaults" else "settings.json"
    return ["plain_trl.py", str(folder / name), "--marks", str(marks)]


def launch(words: Sequence[str], marks: Path, *, source: Path = ROOT, here: bool = False) -> list[dict[str, Any]]:
    """Run a contender to its end; its marks, `time` in seconds since its process was started.

    Args:
        source: the clone whose gspo_lite it uses; the scripts are those beside this file.
        here: in this process, for a quick run of this clone: nothing is imported again and no time means anything.
    """
    marks.unlink(missing_ok=True)
    start = time.time()
    if here:
        import_module(words[0].removesuffix(".py")).main(words[1:])
    else:
        command = [sys.executable, str(HERE / words[0]), *words[1:]]
        path = os.pathsep.join([str(source), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    rows = [json.loads(line) for line in marks.read_text().splitlines()]
    rows.append({"mark": "process ends", "time": time.time()})
    return [row | {"time": row["time"] - start} for row in rows]


def moment(marks: Sequence[dict[str, Any]], name: str, step: int | None = None) -> float:
    """Seconds at which a mark was set, the first of that step."""
    return next(row["time"] for row in marks if row["mark"] == name and step in (None, row.get("step")))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def shown(values: dict[str, float], unit: str = "", digits: int = 2) -> str:
    """Median and range for people."""
    return f"{values['median']:.{digits}f}{unit} ({values['low']:.{digits}f} to {values['high']:.{digits}f})"
