"""Runs whose completions are fixed by prompt, step and place in the group; everything after sampling is real.

    torchrun --nproc_per_node 2 -m tests.distributed.scripted FOLDER

Processes deal their rows to optimizer steps by themselves; a single one is given the order in which two come to the
same steps.
"""

from __future__ import annotations

import random
import re
import shutil
import sys
from pathlib import Path

import torch
from trl.trainer import grpo_trainer

from gspo_lite import load_recipe
from gspo_lite.models.starter import demonstration
from gspo_lite.run import run
from gspo_lite.system import processes
from gspo_lite.training.trainer import GSPOTrainer

ROLLOUT, STEPS = 64, 4  # completions, optimizer steps on them
CREDIT = ["rewards.0.credit=all", "rewards.1.credit={tail: 6}"]
ALGORITHMS = ("gspo", "gspo_token")
LONG, RESUMED = "long", "resumed"


class Script:
    """What stands in for sampling and for TRL's shuffle."""

    def __init__(self, count: int):
        self.count = count
        self.step = 0

    def turn(self, trainer, prompt_ids, images, multimodal_fields, num_generations, *_):
        self.step = trainer.state.global_step
        tokenizer, found = trainer.processing_class, []
        for place, ids in enumerate(prompt_ids):
            a, b = map(int, re.findall(r"\d+", tokenizer.decode(ids)))
            text = demonstration(a, b, random.Random(f"{a} {b} {place % num_generations} {self.step}"))
            found.append([*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id])
        return found, None

    def shuffle(self, batch):
        """The same rows in the same optimizer step, however many processes there are."""
        order = torch.randperm(ROLLOUT // 2, generator=torch.Generator().manual_seed(self.step))
        if self.count == 1:
            steps = order.view(STEPS, -1)
            order = torch.cat([steps, steps + ROLLOUT // 2], dim=1).flatten()

        def moved(value):
            if isinstance(value, torch.Tensor) and value.dim():
                return value[order]
            return [value[i] for i in order] if isinstance(value, list) else value

        return {name: moved(value) for name, value in batch.items()}


def recipe_of(folder: Path, algorithm: str, count: int, *more: str):
    overrides = [
        f"objective.algorithm={algorithm}", "model.load_in_4bit=false", "data.eval.limit=8", "data.limit=64",
        "training.max_steps=8", f"training.steps_per_generation={STEPS}", "training.learning_rate=1.0e-3",
        f"training.per_device_train_batch_size={ROLLOUT // STEPS // count}", "rewards.1.weight=0.5",
        *(CREDIT if algorithm == "gspo_token" else []), *more,
    ]  # fmt: skip
    return load_recipe("quickstart", overrides, output=str(folder), allow_outside=True).recipe


def main(folder: Path) -> None:
    count = processes.count()
    script = Script(count)
    GSPOTrainer._generate_single_turn = lambda trainer, *args: script.turn(trainer, *args)
    grpo_trainer.shuffle_sequence_dict = script.shuffle
    save = "training.save_steps=3"  # inside a rollout
    for algorithm in ALGORITHMS:
        run(recipe_of(folder / algorithm, algorithm, count, save))
    if processes.is_main():
        shutil.copytree(folder / ALGORITHMS[-1], folder / RESUMED)
        shutil.rmtree(folder / RESUMED / "checkpoints" / "checkpoint-6")
        shutil.rmtree(folder / RESUMED / "adapter")
    processes.wait()
    run(recipe_of(folder / RESUMED, ALGORITHMS[-1], count, save), resume=True)
    run(recipe_of(folder / LONG, "gspo", count, "training.max_steps=100000"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
