"""The trackers of a run: wandb, trackio, tensorboard. Transformers sends the metrics; this says where they go.

A resumed run keeps its name, the table of completions is sent, secrets are masked, and a missing package is reported
before a model is loaded. Must not know metrics.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gspo_lite.completion.text import chat_turns
from gspo_lite.errors import MachineError
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system import run_folder
from gspo_lite.system.redaction import redact, redact_values

PROJECT = "gspo-lite"
PACKAGES = ("wandb", "trackio", "tensorboard")
TABLE = "completions"
TABLES = ("wandb", "trackio")  # trackers that have tables


def require(report_to: Sequence[str]) -> None:
    """Refuse trackers whose package is missing, and wandb without a key unless it works offline."""
    missing = [name for name in PACKAGES if name in report_to and find_spec(name) is None]
    if missing:
        names = " ".join(missing)
        raise MachineError(
            f"`output.report_to` needs packages that are not installed: {names}",
            f"`pip install {names}`, or set output.report_to=[none]",
        )
    if "wandb" in report_to and not wandb_can_start():
        raise MachineError(
            "`output.report_to: wandb` needs an API key, and there is no terminal to ask for one",
            "`wandb login`, or WANDB_MODE=offline to keep the run on this machine until `wandb sync`",
        )


def wandb_can_start() -> bool:
    """Return whether wandb has an API key, can ask for one, or needs none."""
    import wandb

    mode = os.environ.get("WANDB_MODE") or wandb.Settings().mode
    return mode != "online" or sys.stdin.isatty() or bool(wandb.api.api_key)


def place(trainer: Any, folder: Path, recipe: Recipe) -> None:
    """Name the run and tell each tracker of `trainer` where to write.

    The name contains the start time, which only a resumed run keeps, so that it continues the old tracker run.
    """
    if not set(PACKAGES) & set(recipe.output.report_to):
        return
    from transformers.integrations import TensorBoardCallback

    facts = run_folder.read_json(folder / run_folder.ENVIRONMENT)
    trainer.args.run_name = f"{folder.name} {facts['started']}"
    trainer.args.project = PROJECT
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback):
            callback.logging_dir = str(folder / "tensorboard")
    if "wandb" in recipe.output.report_to:
        config = json.loads(redact(json.dumps({"recipe": recipe.model_dump(mode="json"), "environment": facts})))
        open_wandb(folder, trainer.args.run_name, config)


def open_wandb(folder: Path, name: str, config: dict[str, Any]) -> None:
    """Start a wandb run in the run folder, or continue the one there; wandb must not copy the unmasked terminal."""
    import wandb

    begun = sorted((folder / "wandb").glob("*run-*-*"))  # [offline-]run-TIME-ID
    wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        dir=str(folder),
        id=begun[-1].name.rsplit("-", 1)[1] if begun else None,
        resume="allow",
        name=name,
        config=config,
        settings=wandb.Settings(console="off", quiet=True, x_disable_meta=True, disable_git=True),
    )


def close(trainer: Any, failed: bool) -> None:
    """Close what transformers leaves open, above all if training ended early."""
    wandb, trackio = sys.modules.get("wandb"), sys.modules.get("trackio")
    for callback in trainer.callback_handler.callbacks:
        kind = type(callback).__name__
        with suppress(Exception):  # an error of a tracker must not hide how the run ended
            if kind == "WandbCallback" and wandb is not None and wandb.run is not None:
                wandb.finish(exit_code=int(failed))
            if kind == "TrackioCallback" and trackio is not None and callback._initialized:
                trackio.finish()
            if kind == "TensorBoardCallback" and callback.tb_writer is not None:
                callback.tb_writer.close()


def tables(recipe: Recipe) -> list[Callable[[list[dict[str, Any]]], None]]:
    """Return a function for each tracker with tables that sends sampled completions there.

    TRL's `log_completions` would also print them and send the whole rollout at every optimizer step.
    """
    return [table_of(name) for name in TABLES if name in recipe.output.report_to]


def table_of(name: str) -> Callable[[list[dict[str, Any]]], None]:
    """Return a function that sends rows of completions.jsonl to one tracker."""

    def take(rows: list[dict[str, Any]]) -> None:
        import pandas as pd

        tracker = __import__(name)
        if not rows:
            return
        frame = pd.DataFrame([cells(row) for row in rows])
        tracker.log({TABLE: tracker.Table(dataframe=frame), "train/global_step": rows[0]["step"]})

    return take


def cells(row: dict[str, Any]) -> dict[str, Any]:
    """Return one row of the table: rewards and what they logged in separate columns, secrets masked."""
    plain = {name: row[name] for name in ("step", "prompt", "completion", "answer", "extracted", "advantage")}
    if not isinstance(row["prompt"], str):
        plain["prompt"] = "\n\n".join(f"{role}: {text}" for role, text in chat_turns(row["prompt"]))
    texts = {name: redact(value) if isinstance(value, str) else value for name, value in plain.items()}
    extra = {f"{name}.{column}": value for name, one in row.get("extra", {}).items() for column, value in one.items()}
    return {**texts, "answer": redact(str(row["answer"])), **row["rewards"], **redact_values(extra)}
