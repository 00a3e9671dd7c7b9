"""Loads the starter through Unsloth's CPU backend in every way a recipe can ask for, and trains a step of each.

A process of its own, because importing Unsloth changes TRL for good.    python cpu_loading.py      one JSON line a way
"""

import json
import os
import tempfile
from pathlib import Path

os.environ.update(
    CUDA_VISIBLE_DEVICES="", UNSLOTH_COMPILE_LOCATION=tempfile.mkdtemp(), UNSLOTH_DISABLE_STATISTICS="1",
    HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false",
)  # fmt: skip

WAYS = {
    "4-bit": [],
    "4-bit checkpointed": ["training.gradient_checkpointing=true"],
    "8-bit": ["model.load_in_4bit=false", "model.load_in_8bit=true"],
    "unquantized": ["model.load_in_4bit=false", "model.lora.target_modules=[q_proj, v_proj]"],
    "continued": ["model.lora={}", "model.adapter=ADAPTER", "objective.beta=0.1"],
    "full": ["model.load_in_4bit=false", "model.full_finetuning=true"],
}
QUICK = [
    "model.backend=unsloth", "training.max_steps=4", "training.per_device_train_batch_size=8", "data.limit=64",
    "data.eval.limit=4", "generation.max_completion_length=24",
]  # fmt: skip


def adapter_on_a_base_that_is_gone():
    """An adapter as another machine left it: its base lies nowhere here, so that the recipe's has to be taken."""
    from gspo_lite.models.starter import starter_folder
    from tests.models.tiny_models import write_adapter

    folder = write_adapter(Path(tempfile.mkdtemp()) / "sft", starter_folder())
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "/gone/starter"}))
    return folder


def train(name):
    from gspo_lite.checked_recipe import load_recipe
    from gspo_lite.run import run
    from gspo_lite.training import build

    folder = Path(tempfile.mkdtemp()) / "run"
    moved = []
    right = build.train

    def watched(trainer, *args, **kwargs):
        trained = [p for p in trainer.model.parameters() if p.requires_grad]
        before = [p.detach().clone() for p in trained]
        right(trainer, *args, **kwargs)
        moved.append(sum(int((p != old).any()) for p, old in zip(trained, before, strict=True)) / len(trained))
        moved.append(sorted({str(p.dtype) for p in trained}))

    build.train = watched
    try:
        begun = str(adapter_on_a_base_that_is_gone()) if name == "continued" else ""
        settings = [one.replace("ADAPTER", begun) for one in (*QUICK, *WAYS[name])]
        run(load_recipe("quickstart", settings, output=str(folder), allow_outside=True).recipe)
    finally:
        build.train = right
    files = sorted(file.name for file in (folder / "adapter").glob("*.safetensors"))
    facts = json.loads((folder / "environment.json").read_text())
    kl = [json.loads(line).get("kl") for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {"moved": moved[0], "kl": kl, "dtypes": moved[1], "files": files, "backend": facts["backend"]}


if __name__ == "__main__":
    for name in WAYS:
        try:
            result = {"way": name, **train(name)}
        except Exception as error:
            result = {"way": name, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), flush=True)
