"""The supervised warm-up before RL: a few steps of TRL's SFTTrainer on worked examples, with the run's adapter.

The adapter is then kept in `warmup/` of the run folder. A resumed run restores it, so that RL begins from the same
weights, and a KL penalty refers to them. Must not know evaluation.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from gspo_lite.data.inputs import ToolsOf
from gspo_lite.data.sources import Problems
from gspo_lite.models.kinds import tokenizer_of
from gspo_lite.models.weights import keep_trainable_float32
from gspo_lite.recipe.schema import Recipe, WarmupSettings
from gspo_lite.system import processes
from gspo_lite.system.run_folder import WARMUP, unfinished_name
from gspo_lite.training.examples import load_examples
from gspo_lite.training.reference import learned_weights, restore

WEIGHTS = "adapter_model.safetensors"


def warm_up(
    recipe: Recipe,
    folder: Path,
    model: Any,
    processing: Any,
    problems: Problems,
    args: Any,
    say: Callable[[str], None],
    tools_of: ToolsOf | None = None,
) -> None:
    """Train the adapter on worked examples and keep it in the run folder, or restore the one kept there.

    Args:
        args: the configuration of the RL that follows; its number types are used.
        say: shows one line to the user.
        tools_of: returns the tools that the template shows with the prompt of a row.
    """
    kept, settings = folder / WARMUP, recipe.warmup
    assert settings is not None
    if kept.is_dir():
        set_peft_model_state_dict(model, load_file(kept / WEIGHTS))
        say(f"warm-up  was done before; adapter restored from `{kept}`")
        return
    examples = load_examples(recipe, settings, problems, processing, tools_of)
    say(f"warm-up  {settings.max_steps} supervised steps on {len(examples)} worked examples ...")
    trainer = supervised(recipe, settings, folder, model, processing, examples, args)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    say(f"         loss {losses[0]:.2f} in the first step, {losses[-1]:.2f} in the last")
    if processes.is_main():
        keep(model, folder)
    processes.wait()


def supervised(
    recipe: Recipe, settings: WarmupSettings, folder: Path, model: Any, processing: Any, examples: Any, args: Any
) -> SFTTrainer:
    """Return the trainer of the warm-up."""
    config = SFTConfig(
        output_dir=str(folder / unfinished_name(WARMUP)),
        max_steps=settings.max_steps,
        learning_rate=settings.learning_rate, lr_scheduler_type="constant", seed=recipe.training.seed,
        per_device_train_batch_size=settings.per_device_train_batch_size, max_length=recipe.model.max_seq_length,
        gradient_checkpointing=recipe.training.gradient_checkpointing,
        bf16=args.bf16, fp16=args.fp16, use_cpu=args.use_cpu,
        logging_steps=1, disable_tqdm=True, save_strategy="no", report_to="none",
    )  # fmt: skip
    begun_with = learned_weights(model)
    trainer = SFTTrainer(model, args=config, train_dataset=examples, processing_class=tokenizer_of(processing))
    keep_trainable_float32(trainer.model)
    restore(trainer.model, begun_with)
    trainer.remove_callback(PrinterCallback)  # `warm_up` reports the losses instead
    return trainer


def keep(model: Any, folder: Path) -> None:
    """Save the finished adapter in the run folder atomically, so that half a warm-up never looks complete."""
    unfinished = folder / unfinished_name(WARMUP)
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(str(unfinished))
    os.rename(unfinished, folder / WARMUP)
