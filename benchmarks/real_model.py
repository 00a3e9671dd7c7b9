"""What a real model learns: the recipe `smollm2_json` by GSPO, by GRPO, and by stock TRL with its defaults.

    uv run --group real python benchmarks/real_model.py [--seeds 42 43 44] [--arms gspo grpo trl] [--results FILE]

    gspo    the recipe as it is shipped
    grpo    the same with level token and epsilon 0.2, as many updates a rollout
    trl     trl.GRPOTrainer: the recipe's model, adapter, data, reward functions, learning rate, rollouts and their
            number; all else is TRL's default, so its loss, its clip, its schedule, and one update a rollout

Each run is a process of its own. Its line is appended to FILE, and a run that has a line is not repeated, so that a
benchmark which was interrupted goes on. The held-out problems are the recipe's, answered greedily.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RECIPE = "smollm2_json"
GRPO = ["objective.algorithm=grpo", "objective.epsilon=0.2", "objective.epsilon_high=0.2"]
ARMS: dict[str, list[str]] = {"gspo": [], "grpo": GRPO, "trl": []}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--results", type=Path, default=Path("runs/real_model.jsonl"))
    parser.add_argument("--set", action="append", default=[], help="another setting of the recipe, for all arms")
    parser.add_argument("--one", type=Path, help="only train the first arm with the first seed, into this folder")
    chosen = parser.parse_args(words)
    if chosen.one:
        settings = [*ARMS[chosen.arms[0]], f"training.seed={chosen.seeds[0]}", *chosen.set]
        (stock_trl if chosen.arms[0] == "trl" else gspo_lite_run)(settings, chosen.one)
        return
    chosen.results.parent.mkdir(parents=True, exist_ok=True)
    for seed in chosen.seeds:
        for arm in chosen.arms:
            if not any((row["arm"], row["seed"]) == (arm, seed) for row in rows_of(chosen.results)):
                row = measured(arm, seed, chosen.set, chosen.results.with_suffix("") / f"{arm}-{seed}")
                with chosen.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    print(table(rows_of(chosen.results)))


def measured(arm: str, seed: int, settings: list[str], folder: Path) -> dict[str, Any]:
    """Return the line of one run in a process of its own."""
    command = [sys.executable, __file__, "--arms", arm, "--seeds", str(seed), "--one", str(folder)]
    start = time.perf_counter()
    subprocess.run([*command, *(word for one in settings for word in ("--set", one))], check=True)
    figures, facts = (json.loads((folder / name).read_text()) for name in ("eval.json", "environment.json"))
    kept = {phase: {key: figures[phase][key] for key in ("accuracy", "ci95", "n")} for phase in ("before", "after")}
    seconds = round(time.perf_counter() - start)
    return {"arm": arm, "seed": seed, **kept, "seconds": seconds, "peak_gib": facts["peak_memory_gib"]}


def gspo_lite_run(settings: list[str], folder: Path) -> None:
    """Run the recipe."""
    from gspo_lite.checked_recipe import load_recipe
    from gspo_lite.run import run

    own = [f"output.dir={folder}", "output.if_exists=overwrite"]
    run(load_recipe(RECIPE, [*settings, *own]).recipe, own_process=True)


def stock_trl(settings: list[str], folder: Path) -> None:
    """Train by stock TRL, and measure before and after as a run does."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from trl import GRPOConfig, GRPOTrainer

    from gspo_lite.checked_recipe import load_recipe
    from gspo_lite.data.sources import load_problems
    from gspo_lite.evaluation import evaluate
    from gspo_lite.models.load import load_model
    from gspo_lite.rewards.contract.registry import build_rewards
    from gspo_lite.system.environment import peak_memory_gib

    recipe = load_recipe(RECIPE, settings).recipe
    problems, rewards = load_problems(recipe.data), build_rewards(recipe.rewards, recipe.data.layout)
    loaded = load_model(recipe.model, "transformers", seed=recipe.training.seed)
    training, generation = recipe.training, recipe.generation
    rollouts = training.max_steps * training.gradient_accumulation_steps // training.steps_per_generation
    args = GRPOConfig(
        output_dir=str(folder), learning_rate=training.learning_rate, seed=training.seed, report_to="none",
        per_device_train_batch_size=training.per_device_train_batch_size, bf16=False, save_strategy="no",
        gradient_accumulation_steps=training.steps_per_generation,  # the rollout of the recipe in one update
        max_steps=rollouts, num_generations=generation.num_generations,
        max_completion_length=generation.max_completion_length, temperature=generation.temperature,
        reward_weights=[one.weight for one in recipe.rewards],
    )  # fmt: skip
    trainer = GRPOTrainer(
        loaded.model, rewards, args=args, train_dataset=problems.train, processing_class=loaded.processing_class
    )
    figures = {}
    for phase in ("before", "after"):
        if phase == "after":
            trainer.train()
        model, processing = trainer.model, trainer.processing_class
        figures[phase] = evaluate(model, processing, problems.held_out, recipe).figures
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "eval.json").write_text(json.dumps(figures))
    (folder / "environment.json").write_text(json.dumps({"peak_memory_gib": round(peak_memory_gib(), 2)}))


def rows_of(results: Path) -> list[dict[str, Any]]:
    """Return the runs that are done."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []


def table(rows: list[dict[str, Any]]) -> str:
    """Return all runs as a table in Markdown, one line each."""
    head = ["| arm | seed | greedy before | greedy after | seconds | peak |", "|---|---:|---:|---:|---:|---:|"]
    lines = [
        f"| {row['arm']} | {row['seed']} | {share(row['before'])} | {share(row['after'])} | {row['seconds']} "
        f"| {row['peak_gib']} GiB |"
        for row in sorted(rows, key=lambda row: (list(ARMS).index(row["arm"]), row["seed"]))
    ]
    return "\n".join([*head, *lines])


def share(figures: dict[str, Any]) -> str:
    """Return an accuracy with its 95 percent interval."""
    low, high = figures["ci95"]
    return f"{figures['accuracy']:.1%} ({low:.0%} to {high:.0%})"


if __name__ == "__main__":
    main()
