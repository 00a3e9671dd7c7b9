"""Merges a trained adapter into its base model and writes the result as an ordinary model folder.

An adapter learns to correct the weights it was trained on. In a 4-bit run these are the NF4 weights with their rounding
errors, so the base `trained` is those weights, dequantized; the base `original` is the published model, on which the
adapter acts slightly differently. Must not know recipes' data or training.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gspo_lite.errors import UsageError
from gspo_lite.models.adapters import ADAPTER_CONFIG
from gspo_lite.models.defaults import keep_end_tokens
from gspo_lite.models.load import load_base
from gspo_lite.models.names import explain, resolve_name
from gspo_lite.models.weights import torch_dtype
from gspo_lite.recipe.schema import ModelSettings


def merge(
    settings: ModelSettings,
    adapter: Path,
    folder: Path,
    *,
    base: str = "trained",
    dtype: str = "auto",
    fold: bool = True,
) -> str:
    """Write the model with the adapter merged into it to `folder`, and return a description of the weights.

    Args:
        settings: of the run: the base model and how it was loaded.
        base: `trained`, the weights that the adapter was trained on, or `original`, the published ones.
        dtype: of the written weights; `auto` is `written_dtype`.
        fold: merge the adapter; without it the base is written as it is, with the adapter's tokenizer.

    Raises:
        UsageError: the adapter or its base cannot be read.
    """
    import torch

    trained = as_trained(settings, adapter)
    wanted = trained if base == "trained" or settings.full_finetuning else unquantized(settings)
    name = written_dtype(settings) if dtype == "auto" else dtype
    try:
        model, processing, _ = load_base(resolve_name(wanted.name), wanted, adapter=adapter)
        keep_end_tokens(model, processing, wanted.chat_template_kwargs)
        written = folded(widened(model), adapter) if fold else widened(model)
    except (OSError, ValueError, RuntimeError) as error:
        raise explain(error, wanted.name) from error
    written.to(getattr(torch, name)).save_pretrained(folder)
    processing.save_pretrained(folder)
    return f"{name}, {described(trained, base, fold)}"


def folded(model: Any, adapter: Path) -> Any:
    """Return the model with the adapter in its weights, or unchanged if every weight was trained.

    The sum is computed in the type of the loaded base and rounded only when written; a NaN is refused.
    """
    from peft import PeftModel

    if not (adapter / ADAPTER_CONFIG).is_file():
        return model
    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)


def widened(model: Any) -> Any:
    """Return the model with quantized weights expanded to the type it computes with; any other model unchanged."""
    return model if getattr(model, "hf_quantizer", None) is None else model.dequantize(dtype=model.dtype)


def described(trained: ModelSettings, base: str, fold: bool = True) -> str:
    """Describe the weights that were written."""
    if trained.full_finetuning:
        return "every weight trained"
    merged = "the adapter merged into " if fold else ""
    if not trained.narrow:
        return f"{merged}the base it was trained on"
    dequantized = base == "trained" and not trained.load_in_fp8  # only Unsloth loads that
    return merged + ("its dequantized base" if dequantized else "the published base, unquantized")


def as_trained(settings: ModelSettings, adapter: Path) -> ModelSettings:
    """Return the settings that load exactly the weights an adapter was trained on.

    For some names Unsloth loads a model that was quantized beforehand, with its own rounding; the adapter records it.
    A run that trained every weight has a whole model in place of the adapter.
    """
    if settings.full_finetuning:
        return settings.model_copy(update={"name": str(adapter)})
    try:
        name = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"`{adapter}` has no adapter that can be read: {error}") from error
    if settings.load_in_4bit and str(name).lower().endswith("bnb-4bit"):
        return settings.model_copy(update={"name": name})
    return settings


def unquantized(settings: ModelSettings) -> ModelSettings:
    """Return settings for the same model with its weights as published."""
    return settings.model_copy(update=dict.fromkeys(settings.narrow, False))


def written_dtype(settings: ModelSettings) -> str:
    """Return the 16-bit type of an export: bfloat16 if the run computed with it, else float16.

    After a run in float32 the 8 bits of bfloat16 change a small model's answers; float16 has 11.
    """
    import torch

    return "bfloat16" if torch_dtype(settings.dtype) is torch.bfloat16 else "float16"
