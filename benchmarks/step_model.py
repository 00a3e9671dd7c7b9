"""The random model of train_step.py and its tokenizer of numbers, and what a path needs before TRL is imported."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

from step_cases import END, VOCABULARY, Case

ROOT = Path(__file__).resolve().parents[1]
PATHS = ("plain", "unsloth", "vllm")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def prepare_path(path: str) -> None:
    """Import what has to come before TRL on a path."""
    sys.path.insert(0, str(ROOT))
    if path == "unsloth":  # its trainer as on a GPU machine, on this CPU
        from tests.unsloth.patched_trainer import import_unsloth

        import_unsloth()
    if path == "vllm":
        from tests.vllm import colocate

        colocate.keep_weights_loadable()
        colocate.in_float32()
        one_engine_for_all()


def one_engine_for_all() -> None:
    """Let all trainers of a model share one engine, which takes minutes and memory to start."""
    import trl.generation.vllm_generation as generation

    start = generation.LLM
    engines: dict[str, Any] = {}

    def shared(*args: Any, **kwargs: Any) -> Any:
        name = str(kwargs.get("model", args[0] if args else ""))
        if name not in engines:
            engines[name] = start(*args, **kwargs)
        return engines[name]

    generation.LLM = shared


def model_of(case: Case, folder: Path, path: str = "plain") -> Any:
    """Return the model of a case, the same weights every time; it is written to `folder` first.

    Its adapter is not zero, so that every one of its weights has a gradient.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    folder = written(case, folder)
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4") if case.weights == "nf4" else None
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=nf4)
    if case.weights != "full":
        torch.manual_seed(1)
        model = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        from gspo_lite.models.weights import keep_gradients_right

        keep_gradients_right(model)
    if path == "unsloth":  # what FastLanguageModel gives its models
        model.for_training = lambda *_, **__: model.train()
        model.for_inference = lambda *_, **__: model.eval()
        model._unsloth_user_float32 = True
    return model


def written(case: Case, folder: Path) -> Path:
    """Return the folder of the model without its adapter, and write it if it is not there."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = folder / f"{case.layers}-layers-of-{case.width}"
    if not (folder / "config.json").is_file():
        torch.manual_seed(0)
        config = Qwen3Config(
            vocab_size=VOCABULARY, hidden_size=case.width, intermediate_size=3 * case.width,
            num_hidden_layers=case.layers, num_attention_heads=case.heads, num_key_value_heads=case.heads, head_dim=64,
            max_position_embeddings=2048, eos_token_id=END, pad_token_id=0, bos_token_id=None,
        )  # fmt: skip
        Qwen3ForCausalLM(config).save_pretrained(folder)
        tokenizer_of_numbers().save_pretrained(folder)
    return folder


@functools.cache
def tokenizer_of_numbers() -> Any:
    """Return a tokenizer with one word for every token of the vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = {"<pad>": 0, "<eos>": END, **{f"w{i}": i for i in range(2, VOCABULARY)}}
    core = Tokenizer(models.WordLevel(known, unk_token="w2"))
    core.pre_tokenizer, core.decoder = pre_tokenizers.Whitespace(), decoders.Fuse()  # no space of the decoder's own
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>", unk_token="w2")
