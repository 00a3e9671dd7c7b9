"""Chooses the number types of weights that this machine supports, and keeps gradients through 4-bit weights right."""

from __future__ import annotations

import importlib
from typing import Any

from gspo_lite.recipe.schema import ModelSettings

NOTABLE_SHARE = 0.1  # of a model's weights, left unquantized by 4-bit loading
EIGHT_BIT, FP8 = "8-bit", "8-bit floating point (FP8)"


def bitsandbytes_works() -> bool:
    """Return whether bitsandbytes can be imported."""
    try:
        importlib.import_module("bitsandbytes")
    except Exception:  # a broken build raises OSError, RuntimeError or ImportError
        return False
    return True


def quantization_of(settings: ModelSettings, dtype: Any) -> Any:
    """Return the configuration of 8-bit or 4-bit weights (NF4, as in QLoRA); None if neither is wanted or possible."""
    if not (settings.load_in_4bit or settings.load_in_8bit) or not bitsandbytes_works():
        return None
    from transformers import BitsAndBytesConfig

    if not settings.load_in_4bit:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def left_unquantized(model: Any) -> list[str]:
    """Return a note if much of a 4-bit model stays unquantized, such as the experts of a mixture; else nothing."""
    outside = {id(one.weight) for one in (model.get_input_embeddings(), model.get_output_embeddings()) if one}
    matrices = [p for p in model.parameters() if p.ndim > 1 and id(p) not in outside]
    wide = sum(p.numel() for p in matrices if not hasattr(p, "quant_state"))
    packed = sum(2 * p.numel() for p in matrices if hasattr(p, "quant_state"))  # two weights per byte
    share = wide / max(wide + packed, 1)
    if share < NOTABLE_SHARE:
        return []
    return [f"{share:.0%} of the layers' weights stay {str(model.dtype).removeprefix('torch.')}, not 4-bit"]


def bits(model: Any) -> str:
    """Return how the base model's weights are stored, in words."""
    bases = (model, model.base_model)
    if any(getattr(one, "is_loaded_in_4bit", False) for one in bases):
        return "4-bit NF4"
    if any(getattr(one, "is_loaded_in_8bit", False) for one in bases):
        return EIGHT_BIT
    if any(is_fp8(weight) for weight in model.parameters()):
        return FP8
    return str(model.dtype).removeprefix("torch.")


def is_fp8(weight: Any) -> bool:
    """Return whether a weight is stored in 8-bit floating point, by torch or in torchao's tensor, which hides it."""
    return "float8" in str(weight.dtype) or "Float8" in type(weight.data).__name__


def has_bfloat16() -> bool:
    """Return whether the GPU has real bfloat16; a T4 emulates it slowly, which torch counts unless told not to."""
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False)


def torch_dtype(name: str) -> Any:
    """Return the torch type for a recipe's `model.dtype`."""
    import torch

    if name != "auto":
        return getattr(torch, name)
    if not torch.cuda.is_available():
        return torch.float32
    return torch.bfloat16 if has_bfloat16() else torch.float16


def keep_gradients_right(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights for inference on a CPU with AVX-512 BF16.

    It does so at the first forward pass in evaluation mode and keeps the packed form, which has no backward pass:
    training then continues, without an error, with gradients that miss everything behind a 4-bit layer (relative error
    0.9, bitsandbytes 0.50.2).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def keep_trainable_float32(model: Any) -> None:
    """Keep trained weights in float32; TRL casts those of a 4-bit model to bfloat16.

    At GSPO's learning rates, 1e-6 to 5e-6, a bfloat16 weight often rounds the update away.
    """
    import torch

    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()
