"""A recipe as a user of TRL would script it: stock GRPOTrainer, NF4 by transformers, LoRA by PEFT, nothing of ours.

    python benchmarks/plain_trl.py SETTINGS.json --marks FILE [--profile] [--first-step]

contenders.py writes the settings: the model's folder, the rows, the fields of GRPOConfig and LoraConfig. The two reward
functions are those of gspo-lite, which any TRL trainer takes, so that all are rewarded equally. After training,
`gspo_lite.evaluation` measures the held-out problems, and its figures are marked.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from marks import Sampling, callback, mark, watched


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--marks", type=Path, required=True)
    parser.add_argument("--profile", action="store_true", help="time the parts of a step")
    parser.add_argument("--first-step", action="store_true", help="end after one step")
    chosen = parser.parse_args(words)
    settings = json.loads(chosen.settings.read_text())

    trainer = trainer_of(settings)
    trainer.add_callback(callback(chosen.marks, chosen.first_step))
    sampling, watch = Sampling(trainer), watched(trainer) if chosen.profile else None
    trainer.train()
    mark(chosen.marks, "trained", parts=dict(watch.seconds) if watch else {}, sampling=sampling.per_rollout())
    trainer.save_model(settings["grpo"]["output_dir"] + "/adapter")
    mark(chosen.marks, "evaluated", figures=held_out_figures(trainer, settings))


def trainer_of(settings: dict[str, Any]) -> Any:
    """The script proper."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import GRPOConfig, GRPOTrainer

    from gspo_lite.rewards.format import think_format
    from gspo_lite.rewards.math import math_correct

    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(
        settings["model"], dtype=torch.float32, quantization_config=quantization
    )
    return GRPOTrainer(
        model,
        [math_correct, think_format],
        args=GRPOConfig(**settings["grpo"]),
        train_dataset=Dataset.from_list(settings["train"]),
        processing_class=tokenizer,
        peft_config=LoraConfig(task_type="CAUSAL_LM", **settings["lora"]),
    )


def held_out_figures(trainer: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Figures on the held-out problems, as in eval.json."""
    from gspo_lite.checked_recipe import load_recipe
    from gspo_lite.evaluation import evaluate

    recipe = load_recipe(settings["recipe"], settings["set"]).recipe
    return evaluate(trainer.model, trainer.processing_class, settings["held_out"], recipe).figures


if __name__ == "__main__":
    main()
