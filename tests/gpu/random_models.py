"""Random weights in the shape of a real model, with a tokenizer for its whole vocabulary: no hub, no download.

`plan` knows the shapes (gspo_lite/sizing/known_shapes.json); `tiny` is one for a dry run on a CPU, and `experts` a
mixture of its size. Every completion of such a model runs to its limit, the worst case that `plan` counts with.

    python -m tests.gpu.random_models SHAPE FOLDER      writes one; from the repository's root
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TINY = {
    "model_type": "qwen3", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 512, "tie_word_embeddings": True,
}  # fmt: skip
EXPERTS = "experts"  # a mixture of experts that is small enough for any card
MIXTURE = TINY | {
    "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
    "norm_topk_prob": True,
}  # fmt: skip
OWN_SHAPES = {"tiny": TINY, EXPERTS: MIXTURE}


def write_random_model(shape: str, folder: Path) -> Path:
    """Write the model `shape` with random weights to `folder`, in 16 bits where a GPU makes them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from gspo_lite.sizing.configs import find_config

    if (folder / "config.json").is_file():
        return folder
    known = dict(OWN_SHAPES[shape] if shape in OWN_SHAPES else find_config(shape)[0])
    tokenizer = tokenizer_of_size(known["vocab_size"])
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    config = AutoConfig.for_model(known.pop("model_type"), **known, **ids, max_position_embeddings=4096)
    on_gpu = torch.cuda.is_available() and shape not in OWN_SHAPES
    torch.manual_seed(0)
    with torch.device("cuda" if on_gpu else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16 if on_gpu else torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tokenizer_of_size(size: int) -> Any:
    """The starter's tokenizer, a byte a token, filled up with names of tokens that no text has."""
    from tokenizers import Tokenizer

    from gspo_lite.models.starter import build_tokenizer

    tokenizer = build_tokenizer()
    told = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = told["model"]["vocab"]
    vocabulary |= {added["content"]: added["id"] for added in told["added_tokens"]}  # else they move to the end
    vocabulary |= {f"~{i}~": i for i in range(len(tokenizer), size)}
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(told))
    return tokenizer


if __name__ == "__main__":
    write_random_model(sys.argv[1], Path(sys.argv[2]))
