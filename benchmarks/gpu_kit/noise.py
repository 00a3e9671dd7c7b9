"""How noisy the ratio of an unchanged policy is on Unsloth's paths, against GSPO's clip.

    python3 .gpu/noise.py [--dry-run]      from the repository's root

Unsloth computes log-probs on one packed stream, or shares the prompt of a group in it (PrefixGrouper), and checks
either against the other only to 0.7 nats; old ones are taken in the order of generation, new ones after a shuffle that
parts the groups, so the two can come by different kernels. Three processes at once, one for each setting; no timings.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SETTINGS = {
    "as it comes": {},
    "PrefixGrouper off": {"UNSLOTH_GRPO_PREFIX_GROUPER": "0"},
    "packing off": {"UNSLOTH_GRPO_SEQ_PACKING": "0"},
}
SHAPE = "Qwen3-0.6B"
FIGURES = ("n", "floor", "mean", "low", "high", "outside")


def measure(folder: Path, dry: bool) -> None:
    """Print the noise in this process, on the model that lies in `folder`."""
    os.environ["UNSLOTH_COMPILE_LOCATION"] = tempfile.mkdtemp(prefix="unsloth-")
    import unsloth  # noqa: F401  # before trl

    from gspo_lite import load_recipe
    from gspo_lite.lab.probe import probe
    from tests.gpu.scenarios import SIZES, problems

    sizes = SIZES[dry]
    overrides = [
        *problems(folder / "data", sizes["prompt"]), f"model.name={folder / 'model'}", "model.backend=unsloth",
        f"generation.max_prompt_length={sizes['prompt']}", f"generation.max_completion_length={sizes['completion']}",
        "generation.engine=transformers", "data.prompt=plain", "training.gradient_accumulation_steps=1",
        "training.steps_per_generation=4", "training.warmup_steps=0",
    ]  # fmt: skip
    chosen = load_recipe("gsm8k_gspo", overrides, output=str(folder / "run"), allow_outside=True)
    print("NOISE " + json.dumps(probe(chosen.recipe).as_dict()))


def start(folder: Path, model: Path, setting: dict[str, str], dry: bool) -> Any:
    """Start the process of one setting."""
    folder.mkdir()
    (folder / "model").symlink_to(model)
    environment = {**os.environ, **setting, **({"CUDA_VISIBLE_DEVICES": ""} if dry else {})}
    command = [sys.executable, __file__, *["--dry-run"] * dry, "--measure", str(folder)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )  # fmt: skip


def report(setting: str, text: str) -> bool:
    """Print what the process of one setting found; whether it found anything."""
    print(f"--- {setting}\n{text[-4000:]}")
    found = [json.loads(line.removeprefix("NOISE ")) for line in text.splitlines() if line.startswith("NOISE ")]
    figures = {key: float(f"{found[0]['trainer'][key]:.2e}") for key in FIGURES} if found else "failed"
    print("RESULT", json.dumps({"noise of log s": setting, "trainer": figures}))
    return bool(found)


def main() -> None:
    sys.path.insert(0, os.getcwd())
    dry = "--dry-run" in sys.argv
    if "--measure" in sys.argv:
        measure(Path(sys.argv[-1]), dry)
        return
    from tests.gpu.random_models import write_random_model

    root = Path(tempfile.mkdtemp(prefix="noise-"))
    model = write_random_model("tiny" if dry else SHAPE, root / "model")
    settings = dict(list(SETTINGS.items())[: 1 if dry else None])
    running = {
        name: start(root / str(number), model, setting, dry) for number, (name, setting) in enumerate(settings.items())
    }
    right = [report(name, process.communicate()[0]) for name, process in running.items()]
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
