"""Loads a language model with its adapter, through Unsloth where it can run here, else transformers and PEFT.

Owns the choice of backend and of number types, and says in plain words what was chosen. Must not know training.
The only place outside `training/unsloth.py` that imports unsloth, and it does so before anything imports trl.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gspo_lite.errors import MachineError
from gspo_lite.models.engines import backend_for
from gspo_lite.models.kinds import auto_class, ready
from gspo_lite.models.names import explain, resolve_name
from gspo_lite.models.weights import int8, keep_gradients_right, left_unquantized, nf4, torch_dtype
from gspo_lite.recipe.schema import LoraSettings, ModelSettings
from gspo_lite.system.processes import device_index

ADAPTER_CONFIG = "adapter_config.json"
EIGHT_BIT = "8-bit"


@dataclass
class LoadedModel:
    """A model ready to train or to generate, and what was chosen, one line each.

    Attributes:
        processing_class: its tokenizer, or its processor where it sees images.
    """

    model: Any
    processing_class: Any
    backend: str
    notes: list[str] = field(default_factory=list)


def choose_backend(settings: ModelSettings) -> str:
    """Name the backend this machine can run, and import Unsloth first of all where that is it.

    Raises:
        MachineError: when the recipe asks for Unsloth and it cannot be imported here.
    """
    if settings.backend == "transformers":
        return "transformers"
    if settings.vllm_standby:
        os.environ["UNSLOTH_VLLM_STANDBY"] = "1"  # Unsloth looks at it while it is imported
    try:
        if find_spec("unsloth") is None:
            raise ImportError("it is not installed")
        importlib.import_module("unsloth")
    except Exception as error:  # Unsloth raises whatever its checks of the machine come to
        if settings.backend == "unsloth":
            reason = str(error).strip().split("\n")[0]
            raise MachineError(
                f"`model.backend: unsloth` cannot run here: {reason}",
                "set model.backend=auto, or install it with `pip install unsloth`",
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
    """Load base model and tokenizer and put a fresh adapter on them.

    Args:
        backend: as `choose_backend` named it.
        seed: of the adapter's initial weights.
        vllm: prepare Unsloth's vLLM engine with the model.
        images: the data has images, so the model must see.

    Raises:
        UsageError: when the model does not exist. MachineError: when the hub cannot be reached.
    """
    name = resolve_name(settings.name)
    if images:
        backend = backend_with_images(settings, backend)
    load = load_with_unsloth if backend == "unsloth" else load_with_transformers
    try:
        loaded = load(name, settings, seed, gradient_checkpointing, vllm, images)
    except (OSError, ValueError, RuntimeError) as error:
        raise explain(error, settings.name) from error
    keep_gradients_right(loaded.model)
    if settings.load_in_8bit and bits(loaded.model) != EIGHT_BIT:
        loaded.notes.append("8-bit weights do not work here: they are loaded unquantized")
    return loaded


def backend_with_images(settings: ModelSettings, backend: str) -> str:
    """Return the backend that trains on images in this place of the one chosen without them.

    Raises:
        MachineError: when the recipe asks for Unsloth and there is no GPU.
    """
    import torch

    gpu = torch.cuda.is_available()
    if settings.backend == "unsloth" and not gpu:
        message = "`model.backend: unsloth` trains on images with a GPU only"
        raise MachineError(message, "set model.backend=transformers")
    return backend_for(settings, unsloth=backend == "unsloth", gpu=gpu, images=True)


def load_with_unsloth(
    name: str, settings: ModelSettings, seed: int, gradient_checkpointing: bool, vllm: bool, images: bool
) -> LoadedModel:
    """Load through FastLanguageModel, or FastVisionModel where the data has images."""
    from unsloth import FastLanguageModel, FastVisionModel

    loader = FastVisionModel if images else FastLanguageModel
    checkpointing = "unsloth" if gradient_checkpointing else False
    narrow = settings.load_in_4bit or settings.load_in_8bit
    model, processing = loader.from_pretrained(
        name,
        max_seq_length=settings.max_seq_length,
        dtype=torch_dtype(settings.dtype),
        load_in_4bit=settings.load_in_4bit,
        load_in_8bit=settings.load_in_8bit,
        load_in_16bit=not narrow and not settings.full_finetuning,
        full_finetuning=settings.full_finetuning,
        trust_remote_code=settings.trust_remote_code,
        use_gradient_checkpointing=checkpointing,
        random_state=seed,
        fast_inference=vllm,
        **(vllm_options(settings) if vllm else {}),
    )
    if not settings.full_finetuning:
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
    return LoadedModel(model, ready(processing), "unsloth", [describe(model, "Unsloth")])


def vllm_options(settings: ModelSettings) -> dict[str, Any]:
    """What vLLM inside Unsloth has to know before the adapter is there."""
    options: dict[str, Any] = {
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "max_lora_rank": settings.lora.rank,
    }
    return options | ({"unsloth_vllm_standby": True} if settings.vllm_standby else {})


def load_with_transformers(
    name: str, settings: ModelSettings, seed: int, gradient_checkpointing: bool, vllm: bool, images: bool
) -> LoadedModel:
    """Load through AutoModelForCausalLM and PEFT, with the same settings."""
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    base, processing, notes = load_base(name, settings, images)
    if settings.full_finetuning:
        return LoadedModel(base, processing, "transformers", [describe(base, "transformers"), *notes])
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


def load_base(name: str, settings: ModelSettings, images: bool = False, **options: Any) -> tuple[Any, Any, list[str]]:
    """Load base model and tokenizer by transformers; 4-bit where bitsandbytes works, said where it does not.

    `options` go to transformers' loader of the weights.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

    config = AutoConfig.from_pretrained(name, trust_remote_code=settings.trust_remote_code)
    loader = auto_class(config, settings.name, images)
    speaker = AutoProcessor if loader is AutoModelForImageTextToText else AutoTokenizer
    processing = ready(speaker.from_pretrained(name, trust_remote_code=settings.trust_remote_code))
    options |= {
        # What is trained is held in float32; read in fewer digits it would have lost the others already.
        "dtype": torch_dtype("float32" if settings.full_finetuning else settings.dtype),
        "trust_remote_code": settings.trust_remote_code,
        "device_map": {"": device_index()} if torch.cuda.is_available() else None,
    }
    notes = []
    quantization = nf4(options["dtype"]) if settings.load_in_4bit else int8() if settings.load_in_8bit else None
    if settings.load_in_4bit and quantization is None:
        notes.append("bitsandbytes does not work here: the weights are loaded unquantized, not as 4-bit NF4")
    model = loader.from_pretrained(name, config=config, quantization_config=quantization, **options)
    if settings.load_in_4bit and quantization is not None:
        notes += left_unquantized(model)
    return model, processing, notes


def load_for_evaluation(
    settings: ModelSettings, adapter: Path | None, images: bool = False, **options: Any
) -> LoadedModel:
    """Load a model by transformers to generate only, with a trained adapter if one is given.

    `options` go to transformers' loader of the weights, such as the `gguf_file` in a folder.
    """
    if adapter is not None and not (adapter / ADAPTER_CONFIG).is_file():  # every weight was trained
        settings, adapter = settings.model_copy(update={"name": str(adapter)}), None
    try:
        base, processing, notes = load_base(resolve_name(settings.name), settings, images, **options)
        if adapter is not None:
            from peft import PeftModel

            base = PeftModel.from_pretrained(base, str(adapter))
    except (OSError, ValueError, RuntimeError) as error:
        raise explain(error, settings.name) from error
    return LoadedModel(base.eval(), processing, "transformers", notes)


def unsloth_targets(lora: LoraSettings) -> Any:
    """`all-linear` as Unsloth spells it for a dense transformer."""
    if lora.target_modules != "all-linear":
        return lora.target_modules
    return ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def describe(model: Any, backend: str) -> str:
    """One line on what was loaded."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = model.num_parameters()
    share = "all are trained" if trained == total else f"{trained / 1e6:.2f}M are trained"
    return f"{backend}, {bits(model)}, {total / 1e6:.1f}M parameters of which {share}"


def bits(model: Any) -> str:
    """How the base model's weights are held, in words."""
    bases = (model, model.base_model)
    if any(getattr(one, "is_loaded_in_4bit", False) for one in bases):
        return "4-bit NF4"
    if any(getattr(one, "is_loaded_in_8bit", False) for one in bases):
        return EIGHT_BIT
    return str(model.dtype).removeprefix("torch.")
