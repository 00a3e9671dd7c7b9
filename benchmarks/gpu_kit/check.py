"""Does the kit work on this machine? One RESULT line a part; the first failure ends it.

python3 .gpu/check.py                                                 from the repository's root
python3 .gpu/fakecuda.py .gpu/check.py                                on a pretended card
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch", "triton", "transformers", "peft", "accelerate", "trl", "unsloth", "unsloth_zoo", "bitsandbytes",
    "datasets", "fsspec", "pydantic",
)  # fmt: skip
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BEGAN = time.time()


def tell(part: str, **facts: Any) -> None:
    print("RESULT " + json.dumps({"part": part, "at": round(time.time() - BEGAN, 1), **facts}), flush=True)


def found(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_machine() -> None:
    """Name the card and the versions."""
    import torch

    card = torch.cuda.get_device_properties(0)
    tell(
        "machine", python=sys.version.split()[0], gpu=card.name, gib=round(card.total_memory / 2**30, 1),
        cuda=torch.version.cuda, versions={name: found(name) for name in PACKAGES},
    )  # fmt: skip


def check_bitsandbytes() -> None:
    """Take a matrix to NF4 and back by bitsandbytes' CUDA library, and multiply through it."""
    import bitsandbytes
    import torch
    from bitsandbytes import functional

    weight = torch.randn(512, 512, device="cuda", dtype=torch.bfloat16)
    packed, state = functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    back = functional.dequantize_4bit(packed, state)
    error = float((back - weight).norm() / weight.norm())
    x = torch.randn(1, 512, device="cuda", dtype=torch.bfloat16)
    product, wanted = bitsandbytes.matmul_4bit(x, packed.t(), quant_state=state), x @ back.t()
    product_error = float((product - wanted).norm() / wanted.norm())
    tell("bitsandbytes", nf4_error=round(error, 4), product_error=round(product_error, 5))
    assert 0.05 < error < 0.15, "NF4 is off"


def load_through_unsloth(folder: Path, dtype: str) -> Any:
    """Load a small random model in NF4 by Unsloth's own loader, with our hook in its trainer."""
    import unsloth  # noqa: F401, I001  # before trl
    import trl

    tell("unsloth imported", trainer=trl.GRPOTrainer.__module__)
    from gspo_lite.models.load import load_model
    from gspo_lite.recipe.schema import ModelSettings
    from gspo_lite.training import trainer  # noqa: F401  # installs the hook and compares it with the definition
    from tests.gpu import random_models

    random_models.TINY |= {"hidden_size": 256, "num_attention_heads": 4, "head_dim": 64}
    random_models.write_random_model("tiny", folder)
    lora = {"rank": 8, "alpha": 8, "target_modules": TARGETS}
    settings = ModelSettings(name=str(folder), dtype=dtype, max_seq_length=512, lora=lora)
    loaded = load_model(settings, "unsloth", gradient_checkpointing=True)
    tell("loaded", notes=loaded.notes)
    return loaded.model


def check_kernels(model: Any, rows: int, length: int) -> None:
    """Take a forward, a backward pass and a generation through Unsloth's kernels."""
    import torch
    from unsloth import FastLanguageModel

    ids = torch.randint(10, 500, (rows, length), device="cuda")
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    norms = [float(p.grad.norm()) for name, p in model.named_parameters() if "lora_B" in name]
    assert all(norm > 0 for norm in norms), "a layer has no gradient"
    tell("forward and backward", loss=round(float(loss), 3), layers=len(norms))
    FastLanguageModel.for_inference(model.eval())
    prompt = ids[:, :8]
    with torch.no_grad():
        mask = torch.ones_like(prompt)
        out = model.generate(input_ids=prompt, attention_mask=mask, max_new_tokens=8, do_sample=True)
    tell("generation", shape=list(out.shape), gib=round(torch.cuda.max_memory_allocated() / 2**30, 2))


def main() -> None:
    sys.path.insert(0, os.getcwd())
    check_machine()
    check_bitsandbytes()
    dry = "--dry-run" in sys.argv
    model = load_through_unsloth(Path(tempfile.mkdtemp(prefix="gpu-kit-")), "float32" if dry else "auto")
    check_kernels(model, *((2, 16) if dry else (4, 64)))
    print("RESULT kit ok", flush=True)


if __name__ == "__main__":
    main()
