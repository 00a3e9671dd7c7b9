"""Loads a language model with its adapter, through Unsloth if it can run here, else transformers and PEFT.

Owns the choice of backend and of number types, and reports it in plain words. Must not know training. The only module
besides `training/loss/unsloth.py` that imports unsloth, before anything imports trl.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gspo_lite.errors import MachineError, UsageError, first_line
from gspo_lite.models.adapters import ADAPTER_CONFIG
from gspo_lite.models.continued import is_misfit, misfit, settle, staged
from gspo_lite.models.defaults import clear_sampling, keep_end_tokens
from gspo_lite.models.engines import backend_for
from gspo_lite.models.kinds import ready, tokenizer_of
from gspo_lite.models.names import explain, resolve_name, weights_of
from gspo_lite.models.processing import processing_of
from gspo_lite.models.templates import prepare_template
from gspo_lite.models.weights import (
    EIGHT_BIT,
    FP8,
    bits,
    keep_gradients_right,
    keep_trainable_float32,
    left_unquantized,
    quantization_of,
    torch_dtype,
)
from gspo_lite.recipe.model_settings import LoraSettings, ModelSettings
from gspo_lite.system.processes import device_index
from gspo_lite.system.stopping import deferred

NAME_BOTH = "name the adapter in model.adapter, and its base model in model.name"


@dataclass
class LoadedModel:
    """A model ready to train or to generate, its tokenizer or processor, and notes on what was chosen."""

    model: Any
    processing_class: Any
    backend: str
    notes: list[str] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)  # which ones, where the model's name leaves it open
    sampling: dict[str, Any] = field(default_factory=dict)  # the model's own settings, which are not used


def choose_backend(settings: ModelSettings) -> str:
    """Return the backend that this machine can run, with Unsloth imported if that is the one.

    Raises:
        MachineError: the recipe names Unsloth, which cannot be imported here.
    """
    if settings.backend == "transformers":
        return "transformers"
    if settings.vllm_standby:
        os.environ["UNSLOTH_VLLM_STANDBY"] = "1"  # read while Unsloth is imported
    try:
        if find_spec("unsloth") is None:
            raise ImportError("it is not installed")
        with deferred():
            importlib.import_module("unsloth")
    except Exception as error:  # Unsloth's checks of the machine may raise anything
        if settings.backend == "unsloth":
            reason = first_line(error)
            raise MachineError(
                f"`model.backend: unsloth` cannot run here: {reason}",
                "set model.backend=auto, or install it with `pip install 'gspo-lite[unsloth]'`",
            ) from error
        return "transformers"
    return "unsloth"


def load_model(
    settings: ModelSettings,
    backend: str,
    *,
    seed: int = 0,
    gradient_checkpointing: bool = False,
    vllm: bool = False,
    images: bool = False,
) -> LoadedModel:
    """Load base model and tokenizer with the adapter to train: a new one, or the one that the recipe continues.

    Args:
        backend: the result of `choose_backend`.
        seed: seed of the adapter's initial weights.
        vllm: whether to prepare Unsloth's vLLM engine with the model.
        images: whether the data has images, which takes a vision-language model.

    Raises:
        UsageError: the model does not exist. MachineError: the hub cannot be reached.
    """
    name = resolve_name(settings.name)
    if images:
        backend = backend_with_images(settings, backend)
    load = load_with_unsloth if backend == "unsloth" else load_with_transformers
    with staged(settings, name) as adapter:
        try:
            loaded = load(name, settings, seed, gradient_checkpointing, vllm, images, adapter)
        except (OSError, ValueError, RuntimeError) as error:
            raise (misfit(settings) if is_misfit(error, settings) else explain(error, settings.name)) from error
        if adapter is not None:
            loaded.notes.append(settle(loaded.model, settings, adapter))
    keep_gradients_right(loaded.model)
    loaded.weights = weights_of(settings.name, name)
    loaded.notes += [f"weights {one if '/' in one else f'of sha256 {one[:16]}'}" for one in loaded.weights.values()]
    prepare_generation(loaded, settings)
    asked = EIGHT_BIT if settings.load_in_8bit else FP8 if settings.load_in_fp8 else None
    if asked is not None and bits(loaded.model) != asked:
        loaded.notes.append(f"{asked} weights do not work here: the weights are loaded unquantized")
    return loaded


def backend_with_images(settings: ModelSettings, backend: str) -> str:
    """Return the backend to train on images with, given the one chosen for text; refuse Unsloth without a GPU."""
    import torch

    gpu = torch.cuda.is_available()
    if settings.backend == "unsloth" and not gpu:
        raise MachineError("`model.backend: unsloth` needs a GPU to train on images", "set model.backend=transformers")
    return backend_for(settings, unsloth=backend == "unsloth", gpu=gpu, images=True)


def load_with_unsloth(
    name: str, settings: ModelSettings, seed: int, gradient_checkpointing: bool, vllm: bool, images: bool,
    adapter: Path | None,
) -> LoadedModel:  # fmt: skip
    """Load through FastLanguageModel, or FastVisionModel if the data has images; both know an adapter's base."""
    from unsloth import FastLanguageModel, FastVisionModel

    loader = FastVisionModel if images else FastLanguageModel
    checkpointing = "unsloth" if gradient_checkpointing else False
    model, processing = loader.from_pretrained(
        name if adapter is None else str(adapter),
        max_seq_length=settings.max_seq_length,
        dtype=torch_dtype(settings.dtype),
        load_in_4bit=settings.load_in_4bit,
        load_in_8bit=settings.load_in_8bit,
        load_in_16bit=not settings.narrow and not settings.full_finetuning,
        full_finetuning=settings.full_finetuning,
        trust_remote_code=settings.trust_remote_code,
        use_gradient_checkpointing=checkpointing,
        random_state=seed,
        fast_inference=vllm,
        **({"load_in_fp8": True} if settings.load_in_fp8 else {}),  # which its CPU backend does not know
        **(vllm_options(settings) if vllm else {}),
    )
    if settings.full_finetuning:
        keep_trainable_float32(model)
    elif adapter is None:
        if hasattr(model, "peft_config"):  # of a hub id, which Unsloth takes for its base and the adapter
            raise UsageError(f"`model.name` `{settings.name}` is an adapter", NAME_BOTH)
        model = loader.get_peft_model(
            model,
            r=settings.lora.rank,
            lora_alpha=settings.lora.alpha,
            lora_dropout=settings.lora.dropout,
            target_modules=settings.lora.target_modules if images else unsloth_targets(settings.lora),
            use_gradient_checkpointing=checkpointing,
            random_state=seed,
            max_seq_length=settings.max_seq_length,
        )
    notes = [describe(model, "Unsloth"), *prepare_template(ready(processing), settings.chat_template_kwargs)]
    return LoadedModel(model, processing, "unsloth", notes)


def vllm_options(settings: ModelSettings) -> dict[str, Any]:
    """Return the options that vLLM inside Unsloth needs before the adapter exists."""
    options = {"gpu_memory_utilization": settings.gpu_memory_utilization, "max_lora_rank": settings.lora.rank}
    options["float8_kv_cache"] = settings.float8_kv_cache
    return options | ({"unsloth_vllm_standby": True} if settings.vllm_standby else {})


def load_with_transformers(
    name: str, settings: ModelSettings, seed: int, gradient_checkpointing: bool, vllm: bool, images: bool,
    adapter: Path | None,
) -> LoadedModel:  # fmt: skip
    """Load through AutoModelForCausalLM and PEFT, with the same settings."""
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import set_seed

    base, processing, notes = load_base(name, settings, images, adapter)
    if settings.full_finetuning:
        return LoadedModel(base, processing, "transformers", [describe(base, "transformers"), *notes])
    if adapter is not None:
        model = PeftModel.from_pretrained(base, adapter, is_trainable=True)
        return LoadedModel(model, processing, "transformers", [describe(model, "transformers with PEFT"), *notes])
    set_seed(seed)
    lora = LoraConfig(
        r=settings.lora.rank,
        lora_alpha=settings.lora.alpha,
        lora_dropout=settings.lora.dropout,
        target_modules=settings.lora.target_modules,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base, lora)
    return LoadedModel(model, processing, "transformers", [describe(model, "transformers with PEFT"), *notes])


def load_base(
    name: str, settings: ModelSettings, images: bool = False, adapter: Path | None = None, **options: Any
) -> tuple[Any, Any, list[str]]:
    """Load base model and tokenizer by transformers, in 4-bit if bitsandbytes works, else with a note.

    Args:
        adapter: folder of the adapter that will be used; its tokenizer is preferred, as it was trained with that.
        options: go to `from_pretrained` of the model.
    """
    import torch

    processing, config, loader = processing_of(name, settings, images, adapter)
    options |= {
        # Weights that are trained are held in float32; loading them in a narrower type would lose digits.
        "dtype": torch_dtype("float32" if settings.full_finetuning else settings.dtype),
        "trust_remote_code": settings.trust_remote_code,
        "device_map": {"": device_index()} if torch.cuda.is_available() else None,
    }
    notes = prepare_template(processing, settings.chat_template_kwargs)
    quantization = quantization_of(settings, options["dtype"])
    if settings.load_in_4bit and quantization is None:
        notes.append("bitsandbytes does not work here: the weights are loaded unquantized, not as 4-bit NF4")
    if settings.load_in_fp8:
        notes.append("the weights are loaded unquantized: only Unsloth has them in FP8, so figures differ a little")
    model = loader.from_pretrained(name, config=config, quantization_config=quantization, **options)
    if settings.load_in_4bit and quantization is not None:
        notes += left_unquantized(model)
    return model, processing, notes


def load_for_evaluation(
    settings: ModelSettings, adapter: Path | None, images: bool = False, **options: Any
) -> LoadedModel:
    """Load a model by transformers for generation only, with a trained adapter if one is given.

    `options` go to `from_pretrained` of the model, such as the `gguf_file` in a folder.
    """
    if adapter is not None and not (adapter / ADAPTER_CONFIG).is_file():  # every weight was trained
        settings, adapter = settings.model_copy(update={"name": str(adapter)}), None
    try:
        base, processing, notes = load_base(resolve_name(settings.name), settings, images, adapter, **options)
        if adapter is not None:
            from peft import PeftModel

            base = PeftModel.from_pretrained(base, str(adapter))
    except (OSError, ValueError, RuntimeError) as error:
        raise explain(error, settings.name) from error
    loaded = LoadedModel(base.eval(), processing, "transformers", notes)
    prepare_generation(loaded, settings)
    return loaded


def prepare_generation(loaded: LoadedModel, settings: ModelSettings) -> None:
    """Make every end token count and set the model's own sampling aside, with a note if there are several ends."""
    loaded.sampling = clear_sampling(loaded.model)
    tokenizer = tokenizer_of(loaded.processing_class)
    ends = keep_end_tokens(loaded.model, loaded.processing_class, settings.chat_template_kwargs)
    if len(ends) > 1:
        names = ", ".join(f"`{token}`" for token in tokenizer.convert_ids_to_tokens(sorted(ends)))
        loaded.notes.append(f"completions end at {names}")


def unsloth_targets(lora: LoraSettings) -> Any:
    """Return the target modules for Unsloth, which spells out `all-linear` for a dense transformer."""
    if lora.target_modules != "all-linear":
        return lora.target_modules
    return ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def describe(model: Any, backend: str) -> str:
    """Describe in one line what was loaded."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = model.num_parameters()
    share = "all are trained" if trained == total else f"{trained / 1e6:.2f}M are trained"
    return f"{backend}, {bits(model)}, {total / 1e6:.1f}M parameters of which {share}"
