"""What a run ran on: versions, hardware, command. No paths of the user, no environment variables, so no secrets."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gspo_lite

PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "unsloth",
    "bitsandbytes",
    "vllm",
    "accelerate",
    "datasets",
    "math-verify",
)

DECISIVE = ("torch", "transformers", "trl", "peft", "unsloth", "bitsandbytes")  # what the numbers of a step come from


def environment(backend: str, engine: str, command: str | None) -> dict[str, Any]:
    """Versions and hardware, for environment.json and the report."""
    return {
        "gspo_lite": gspo_lite.__version__,
        "command": command,
        "started": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "backend": backend,
        "engine": engine,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hardware": hardware(),
        "versions": {name: found for name in PACKAGES if (found := installed(name))},
    }


def hardware() -> str:
    """One line on the GPU, or on the processor where there is none."""
    import torch

    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        narrow = "" if torch.cuda.is_bf16_supported(including_emulation=False) else ", no bfloat16: float16 instead"
        return f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB{narrow}{place()}"
    threads = torch.get_num_threads()
    return f"CPU, {os.cpu_count()} cores, {threads} thread{'s' if threads > 1 else ''}{place()}"


def place() -> str:
    """Where this machine runs, if that is somewhere with limits of its own, with a comma before it."""
    if "COLAB_RELEASE_TAG" in os.environ:
        return ", Colab"
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return ", Kaggle"
    return ", WSL" if "microsoft" in platform.release().lower() else ""


def installed(package: str) -> str | None:
    """Version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def training_versions() -> dict[str, str | None]:
    """Versions of what computes a training step, for checkpoints."""
    return {"gspo-lite": gspo_lite.__version__} | {name: installed(name) for name in DECISIVE}


def peak_memory_gib() -> float:
    """Most memory this process has held, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
