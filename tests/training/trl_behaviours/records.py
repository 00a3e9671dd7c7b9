"""What training leaves behind: figures, completions, checkpoints, cards."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from tests.training.trl_behaviours import parts
from tests.training.trl_behaviours.behaviour import Behaviour
from tests.training.trl_behaviours.rewards import logging as logged_extra

NO_PICKLE = "`training_args.bin` is not written: it pickles all settings, `hub_token` among them, and nothing reads it"
CHECKED = f"a manifest and the unfinished rollout are saved as well; {NO_PICKLE}"
SAVED = {"save_strategy": "steps", "save_steps": 1}


def files(trainer: Any) -> Any:
    """Train; the files of the output folder."""
    trainer.train()
    root = Path(trainer.args.output_dir)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def checkpoints(trainer: Any) -> Any:
    trainer.train()
    return sorted(path.name for path in Path(trainer.args.output_dir).glob("checkpoint-*"))


def saved_model(trainer: Any) -> Any:
    """Train and save; the files, and whether they hold the weights."""
    import torch
    from safetensors.torch import load_file

    trainer.train()
    trainer.save_model()
    root = Path(trainer.args.output_dir)
    weights = load_file(root / "model.safetensors")
    whole = all(torch.equal(weights[name], p) for name, p in trainer.model.named_parameters() if name in weights)
    return sorted(path.name for path in root.iterdir()), whole


def tables(trainer: Any) -> Any:
    """Train; the parquet tables of completions."""
    import pandas

    trainer.train()
    paths = sorted(Path(trainer.args.output_dir, "completions").glob("*.parquet"))
    return [(path.name, pandas.read_parquet(path).to_dict("list")) for path in paths]


def printed(trainer: Any) -> Any:
    """Train; what stands on standard output."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        trainer.train()
    return [line for line in output.getvalue().splitlines() if "│" in line]


def tags(trainer: Any) -> Any:
    return trainer.model.model_tags


def card(trainer: Any) -> Any:
    trainer.create_model_card(model_name="mine", dataset_name="theirs")
    text = Path(trainer.args.output_dir, "README.md").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith(("model_name", "- ", "# "))]


def events(trainer: Any) -> Any:
    """Train; the scalars of TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer.train()
    found: set[str] = set()
    for path in Path(trainer.args.output_dir).rglob("events.out*"):
        found |= set(EventAccumulator(str(path)).Reload().Tags()["scalars"])
    ours = ("gspo/", "_count", "/seconds", "entropy")
    return sorted(name for name in found if not any(one in name for one in ours))


def resumed(trainer: Any) -> Any:
    """Train, and train the last step once more with a new trainer; whether it ends at the same weights."""
    import torch

    trainer.train()
    again = type(trainer)(str(parts.folder()), parts.distinct, trainer.args, parts.prompts())
    again.train(resume_from_checkpoint=str(Path(trainer.args.output_dir, "checkpoint-2")))
    pairs = zip(trainer.model.parameters(), again.model.parameters(), strict=True)
    return again.state.global_step, all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


RECORDS = [
    Behaviour("`logging_steps` 2", {"logging_steps": 2}),
    Behaviour("`logging_strategy` no", {"logging_strategy": "no"}),
    Behaviour("`logging_first_step`", {"logging_steps": 2, "logging_first_step": True}),
    Behaviour("`log_completions` as tables", {"log_completions": True}, act=tables, quick=True),
    Behaviour(
        "`log_completions` with extra columns", {"log_completions": True}, rewards=lambda: logged_extra, act=tables
    ),
    Behaviour(
        "`log_completions` of several rewards",
        {"log_completions": True},
        rewards=lambda: [parts.distinct, parts.early],
        act=tables,
    ),
    Behaviour("`log_completions` as printed", {"log_completions": True}, act=printed),
    Behaviour("`num_completions_to_print`", {"log_completions": True, "num_completions_to_print": 2}, act=printed),
    Behaviour("`log_unique_prompts`", {"log_completions": True, "log_unique_prompts": True}, act=tables),
    Behaviour("`report_to` tensorboard", {"report_to": "tensorboard"}, act=events),
    Behaviour("tags of the model", act=tags),
    Behaviour("the model card", act=card),
    Behaviour("`save_model`", act=saved_model, unlike=("found",), reason=NO_PICKLE),
    Behaviour("files of a checkpoint", {**SAVED, "save_steps": 3}, act=files, unlike=("found",), reason=CHECKED),
    Behaviour("`save_total_limit`", {**SAVED, "save_total_limit": 2}, act=checkpoints),
    Behaviour("`save_only_model`", {**SAVED, "save_only_model": True}, act=files, unlike=("found",), reason=CHECKED),
    Behaviour(
        "`save_strategy` epoch",
        {"save_strategy": "epoch", "max_steps": -1, "num_train_epochs": 1, "steps_per_generation": 3},
        act=checkpoints,
    ),
    Behaviour("resuming between two rollouts", SAVED, act=resumed),
    Behaviour(
        "resuming inside a rollout",
        {**SAVED, "steps_per_generation": 3},
        act=resumed,
        unlike=("found",),
        reason="the saved rollout is continued, and the weights are those of a run without a break; TRL samples anew",
    ),
]
