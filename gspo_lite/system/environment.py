"""Versions, hardware and command of a run; no user paths and no environment variables, so no secrets."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gspo_lite

DECISIVE = ("torch", "transformers", "trl", "peft", "unsloth", "bitsandbytes")  # they compute a training step
PACKAGES = (*DECISIVE, "vllm", "accelerate", "datasets", "math-verify")


def environment(backend: str, engine: str, command: str | None) -> dict[str, Any]:
    """Return versions and hardware, for environment.json and the report."""
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
    """Return a line about the GPU, or about the processor if there is no GPU."""
    import torch

    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        narrow = "" if torch.cuda.is_bf16_supported(including_emulation=False) else ", float16 (no bfloat16)"
        return f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB{narrow}{place()}"
    threads = torch.get_num_threads()
    return f"CPU, {os.cpu_count()} cores, {threads} thread{'s' if threads > 1 else ''}{place()}"


def place() -> str:
    """Return a comma and the platform, if it is one with special limits: Colab, Kaggle or WSL."""
    if "COLAB_RELEASE_TAG" in os.environ:
        return ", Colab"
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return ", Kaggle"
    return ", WSL" if "microsoft" in platform.release().lower() else ""


def installed(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def training_versions() -> dict[str, str | None]:
    """Return the versions of the packages that compute a training step, for checkpoints."""
    return {"gspo-lite": gspo_lite.__version__} | {name: installed(name) for name in DECISIVE}


def peak_memory_gib() -> float:
    """Return the peak memory of this process in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
