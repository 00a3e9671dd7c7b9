"""Loads a language model with its adapter, through Unsloth where it can run here, else transformers and PEFT.

Owns the choice of backend and of number types, and says in plain words what was chosen. Must not know training.
The only place outside `training/unsloth.py` that imports unsloth, and it does so before anything imports trl.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gspo_lite.errors import MachineError, UsageError
from gspo_lite.models import starter
from gspo_lite.models.kinds import auto_class, ready
from gspo_lite.models.weights import keep_gradients_right, left_unquantized, nf4, torch_dtype
from gspo_lite.recipe.schema import LoraSettings, ModelSettings

PEFT_FILES = ("adapter_model.safetensors", "adapter_config.json")


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


def backend_that_sees(wanted: str) -> str:
    """The backend for a model with images: Unsloth's takes a GPU.

    Raises:
        MachineError: when the recipe asks for Unsloth and there is no GPU.
    """
    import torch

    if torch.cuda.is_available():
        return "unsloth"
    if wanted == "unsloth":
        raise MachineError(
            "`model.backend: unsloth` trains on images with a GPU only", "set model.backend=transformers"
        )
    return "transformers"


def choose_engine(wanted: str) -> str:
    """Name the engine that generates: vLLM where it is installed and a GPU is there, else transformers.

    Raises:
        MachineError: when the recipe asks for vLLM and it cannot run here.
    """
    import torch

    if wanted == "transformers":
        return "transformers"
    lacking = (
        "a CUDA GPU" if not torch.cuda.is_available() else "the package vllm" if find_spec("vllm") is None else None
    )
    if lacking and wanted == "vllm":
        hint = "set generation.engine=auto to generate with transformers, or `pip install 'gspo-lite[vllm]'` on a GPU"
        raise MachineError(f"`generation.engine: vllm` cannot run here: this machine lacks {lacking}", hint)
    return "transformers" if lacking else "vllm"


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
    if images and backend == "unsloth":
        backend = backend_that_sees(settings.backend)
    load = load_with_unsloth if backend == "unsloth" else load_with_transformers
    try:
        loaded = load(name, settings, seed, gradient_checkpointing, vllm, images)
    except (OSError, ValueError, RuntimeError) as error:
        raise explain(error, settings.name) from error
    keep_gradients_right(loaded.model)
    return loaded


def load_with_unsloth(
    name: str, settings: ModelSettings, seed: int, gradient_checkpointing: bool, vllm: bool, images: bool
) -> LoadedModel:
    """Load through FastLanguageModel, or FastVisionModel where the data has images."""
    from unsloth import FastLanguageModel, FastVisionModel

    loader = FastVisionModel if images else FastLanguageModel
    model, processing = loader.from_pretrained(
        name,
        max_seq_length=settings.max_seq_length,
        dtype=torch_dtype(settings.dtype),
        load_in_4bit=settings.load_in_4bit,
        trust_remote_code=settings.trust_remote_code,
        fast_inference=vllm,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        max_lora_rank=settings.lora.rank,
        random_state=seed,
    )
    model = loader.get_peft_model(
        model,
        r=settings.lora.rank,
        lora_alpha=settings.lora.alpha,
        lora_dropout=settings.lora.dropout,
        target_modules=settings.lora.target_modules if images else unsloth_targets(settings.lora),
        use_gradient_checkpointing="unsloth" if gradient_checkpointing else False,
        random_state=seed,
    )
    return LoadedModel(model, ready(processing), "unsloth", [describe(model, "Unsloth")])


def load_with_transformers(
    name: str, settings: ModelSettings, seed: int, gradient_checkpointing: bool, vllm: bool, images: bool
) -> LoadedModel:
    """Load through AutoModelForCausalLM and PEFT, with the same settings."""
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    base, processing, notes = load_base(name, settings, images)
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
        "dtype": torch_dtype(settings.dtype),
        "trust_remote_code": settings.trust_remote_code,
        "device_map": {"": 0} if torch.cuda.is_available() else None,
    }
    notes = []
    quantization = nf4(options["dtype"]) if settings.load_in_4bit else None
    if settings.load_in_4bit and quantization is None:
        notes.append("bitsandbytes does not work here: the weights are loaded unquantized, not as 4-bit NF4")
    model = loader.from_pretrained(name, config=config, quantization_config=quantization, **options)
    if quantization is not None:
        notes += left_unquantized(model)
    return model, processing, notes


def load_for_evaluation(
    settings: ModelSettings, adapter: Path | None, images: bool = False, **options: Any
) -> LoadedModel:
    """Load a model by transformers to generate only, with a trained adapter if one is given.

    `options` go to transformers' loader of the weights, such as the `gguf_file` in a folder.
    """
    try:
        base, processing, notes = load_base(resolve_name(settings.name), settings, images, **options)
        if adapter is not None:
            from peft import PeftModel

            base = PeftModel.from_pretrained(base, str(adapter))
    except (OSError, ValueError, RuntimeError) as error:
        raise explain(error, settings.name) from error
    return LoadedModel(base.eval(), processing, "transformers", notes)


def resolve_name(name: str) -> str:
    """Folder of a local model or of the starter, built if need be; a hub id as it is."""
    if name == starter.NAME:
        return str(build_starter())
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UsageError(f"`model.name` `{name}` is a folder without `config.json`, so it holds no model")
        return str(path)
    if looks_local:
        raise UsageError(f"`model.name`: there is no folder `{name}`", "name a folder, a hub id or `starter`")
    return name


def build_starter() -> Path:
    """The starter's folder; building it, once a machine, is shown."""
    from rich.console import Console
    from rich.progress import Progress

    if not sys.stderr.isatty():
        return starter.starter_folder(announce)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("building the starter model (once)", total=None, visible=False)
        return starter.starter_folder(lambda done, total: bar.update(task, completed=done, total=total, visible=True))


def announce(done: int, total: int) -> None:
    """Progress of the starter in plain lines."""
    if done == 1:
        print("building the starter model (once; one to two minutes) ...", file=sys.stderr, flush=True)
    elif done % (total // 5) == 0:
        print(f"  warm-up step {done}/{total}", file=sys.stderr, flush=True)


def unsloth_targets(lora: LoraSettings) -> Any:
    """`all-linear` as Unsloth spells it for a dense transformer."""
    if lora.target_modules != "all-linear":
        return lora.target_modules
    return ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def describe(model: Any, backend: str) -> str:
    """One line on what was loaded."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    quantized = getattr(model, "is_loaded_in_4bit", False) or getattr(model.base_model, "is_loaded_in_4bit", False)
    total = model.num_parameters()
    bits = "4-bit NF4" if quantized else str(model.dtype).removeprefix("torch.")
    return f"{backend}, {bits}, {total / 1e6:.1f}M parameters of which {trained / 1e6:.2f}M are trained"


def explain(error: Exception, name: str) -> Exception:
    """The user's view of what went wrong while a model was loaded; a bug stays what it is."""
    text = str(error).lower()
    gist = str(error).strip().split("\n")[0][:200]
    if Path(name).expanduser().is_dir():
        return UsageError(f"`model.name` `{name}` cannot be loaded: {gist}", "its files may be incomplete or broken")
    unreachable = ("couldn't connect", "connection", "offline", "resolve", "cannot find the requested files")
    if os.environ.get("HF_HUB_OFFLINE") == "1" or any(words in text for words in unreachable):
        return MachineError(
            f"`model.name` `{name}` is not on this machine and the hub cannot be reached",
            "go online once, name a local folder, or use `--set model.name=starter`",
        )
    if isinstance(error, OSError):
        return UsageError(
            f"`model.name` `{name}` is neither a folder nor a model that the hub offers to you: {gist}",
            "check the name; for a gated model run `hf auth login` first",
        )
    return error
