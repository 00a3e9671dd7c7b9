"""Whole runs through Unsloth on a GPU, in a process of its own: quickstart, random models in real shapes, a resume.

    python -m tests.gpu.scenarios [--dry-run] [NAME ...]      one JSON line a scenario; from the repository's root

`--dry-run` takes the same way on a CPU with tiny shapes, through Unsloth's CPU backend. Nothing has to be installed but
what a run needs; the recipes are found beside the package. Each line holds what tests/gpu/test_gpu.py judges.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"UNSLOTH_DISABLE_STATISTICS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
# name -> shape, recipe
SHAPES = {
    "0.6B gspo": ("Qwen3-0.6B", "gsm8k_gspo"),
    "0.6B gspo_token": ("Qwen3-0.6B", "gsm8k_gspo_token"),
    "1.7B gspo": ("Qwen3-1.7B", "gsm8k_gspo"),
    "1.7B gspo_token": ("Qwen3-1.7B", "gsm8k_gspo_token"),
    "4B gspo": ("Qwen3-4B", "gsm8k_gspo"),
}
SIZES = {False: {"prompt": 384, "completion": 128, "steps": 10}, True: {"prompt": 24, "completion": 8, "steps": 2}}
# Half of all tokens are even: every group has completions that are better than others, whatever the model says.
REWARD = """
def even_share(completions, completion_ids, **columns):
    return [sum(token % 2 == 0 for token in ids) / max(len(ids), 1) for ids in completion_ids]
"""


def train(recipe: str, overrides: list[str], folder: Path, resume: bool = False) -> dict[str, Any]:
    """A whole run by the recipe, and what became of the weights and the memory."""
    import torch

    from gspo_lite.checked_recipe import load_recipe
    from gspo_lite.run import run
    from gspo_lite.training import build
    from gspo_lite.training.trainer import UNSLOTH

    seen: dict[str, Any] = {}
    right = build.train

    def watched(trainer: Any, *args: Any, **kwargs: Any) -> None:
        trained = [p for p in trainer.model.parameters() if p.requires_grad]
        before = [p.detach().clone() for p in trained]
        right(trainer, *args, **kwargs)
        moved = sum(int((p != old).sum()) for p, old in zip(trained, before, strict=True))
        seen["moved"] = moved / sum(p.numel() for p in trained)
        seen["dtypes"] = sorted({str(p.dtype) for p in trained})
        seen["patched"] = UNSLOTH is not None

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    build.train = watched
    try:
        chosen = load_recipe(recipe, ["model.backend=unsloth", *overrides], output=str(folder), allow_outside=True)
        result = run(chosen.recipe, resume=resume)
    finally:
        build.train = right
    facts = json.loads((folder / "environment.json").read_text())
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return seen | {
        "backend": facts["backend"], "engine": facts["engine"], "steps": [one["step"] for one in steps],
        "loss": [one["loss"] for one in steps], "reward": [one["reward"] for one in steps if "reward" in one],
        "before": result.evaluation["before"]["accuracy"], "after": result.evaluation["after"]["accuracy"],
        "hardware": facts["hardware"], "peak_gib": peak_gib(), "predicted": predicted(chosen.recipe),
    }  # fmt: skip


def peak_gib() -> float:
    """Most memory this process held: what torch reserved and what lies outside of it; without a GPU, of the machine."""
    import torch

    from gspo_lite.system.environment import peak_memory_gib

    if not torch.cuda.is_available():
        return peak_memory_gib()
    free, total = torch.cuda.mem_get_info()
    outside = total - free - torch.cuda.memory_reserved()
    return (torch.cuda.max_memory_reserved() + outside) / 2**30


def predicted(recipe: Any) -> dict[str, float]:
    """What `plan` says of the recipe here, GiB by phase."""
    from gspo_lite.doctor import this_machine
    from gspo_lite.doctor.fitness import room_of
    from gspo_lite.sizing.plan import plan

    phases = plan(recipe, room_of(recipe, this_machine())).phases
    return {phase.name: phase.total / 2**30 for phase in phases}


def problems(folder: Path, length: int) -> list[str]:
    """Overrides for local problems whose prompts are exactly `length` tokens: a letter is one, and so is each role."""
    import random

    draw = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", 64), ("test", 4)):
        rows = [{"prompt": " ".join(draw.choices("bcdfgjklmnpqrvxz", k=length))[: length - 2], "answer": "7"}
                for _ in range(count)]  # fmt: skip
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "even.py").write_text(REWARD)
    return [
        f"data.source={folder / 'train.jsonl'}", f"data.eval.source={folder / 'test.jsonl'}", "data.adapter=columns",
        "data.subset=null", "data.eval.limit=4", f"rewards=[{{name: '{folder / 'even.py'}:even_share', weight: 1.0}}]",
    ]  # fmt: skip


def shape(name: str, dry: bool, folder: Path) -> dict[str, Any]:
    """10 steps of a random model in NF4, as the shipped recipe trains it but for the lengths."""
    from tests.gpu.random_models import write_random_model

    known, recipe = SHAPES[name]
    sizes = SIZES[dry]
    model = write_random_model("tiny" if dry else known, folder / known)
    return train(
        recipe,
        [
            *problems(folder / "data", sizes["prompt"]), f"model.name={model}", f"training.max_steps={sizes['steps']}",
            f"generation.max_prompt_length={sizes['prompt']}", "generation.engine=transformers",
            f"generation.max_completion_length={sizes['completion']}", "data.prompt=plain",
            "training.gradient_accumulation_steps=1", "training.steps_per_generation=4", "training.warmup_steps=0",
        ],
        folder / name.replace(" ", "-"),
    )  # fmt: skip


def quickstart(name: str, dry: bool, folder: Path) -> dict[str, Any]:
    """The quickstart recipe as it is shipped, but through Unsloth and in the number type of a GPU."""
    quick = ["training.max_steps=2", "data.eval.limit=4", "data.limit=64", "training.per_device_train_batch_size=8"]
    return train("quickstart", ["model.dtype=auto", *(quick if dry else [])], folder / name)


def resume(name: str, dry: bool, folder: Path) -> dict[str, Any]:
    """8 steps at once, and 4 with 4 more after a resume: the losses and rewards of the last 4."""
    quick = [
        "model.dtype=auto", "data.eval.limit=4", "data.limit=64", "training.per_device_train_batch_size=8",
        "training.save_steps=4",
    ]  # fmt: skip
    whole = train("quickstart", [*quick, "training.max_steps=8"], folder / "whole")
    train("quickstart", [*quick, "training.max_steps=4"], folder / "parts")
    parts = train("quickstart", [*quick, "training.max_steps=8"], folder / "parts", resume=True)
    return {"whole": whole, "parts": parts}


SCENARIOS = {"quickstart": quickstart, "resume": resume, **dict.fromkeys(SHAPES, shape)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--dry-run", action="store_true")
    chosen = parser.parse_args()
    os.environ.update(SETTINGS)
    folder = Path(tempfile.mkdtemp(prefix="gspo-gpu-"))
    os.environ["UNSLOTH_COMPILE_LOCATION"] = str(folder / "compiled")
    if chosen.dry_run:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import unsloth  # noqa: F401  # before trl

    for name in chosen.names or SCENARIOS:
        try:
            result = {"scenario": name, **SCENARIOS[name](name, chosen.dry_run, folder)}
        except Exception as error:
            result = {"scenario": name, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
