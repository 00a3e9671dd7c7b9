"""The facts of a machine that decide what can run on it, found without importing torch.

Owns how each fact is found. Must not judge it.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from gspo_lite.models.engines import CPU_BUILD, Place
from gspo_lite.system.environment import installed

LIBRARIES = ("torch", "trl", "transformers", "peft", "accelerate", "datasets", "bitsandbytes", "unsloth")
PACKAGES = (*LIBRARIES, "vllm", CPU_BUILD, "wandb", "trackio", "tensorboard")
BF16_CAPABILITY = 8.0  # Ampere; earlier cards have no bfloat16 arithmetic
GIB = 2**30


@dataclass(frozen=True)
class Machine:
    """A machine; this one by `this_machine`, any other by hand.

    Attributes:
        python: version of the interpreter.
        system: `Linux`, `Windows`, `Darwin`.
        cores: processors available to this process.
        ram_gib: total memory.
        disk_gib: free disk space for the Hugging Face cache.
        gpu: name of the first NVIDIA GPU, or None.
        vram_gib: total memory of that GPU; `free_vram_gib` is the unused part.
        driver: version of its driver.
        capability: its compute capability, such as 7.5 for a T4.
        torch_cuda: CUDA version of the installed torch; None for a CPU build.
        versions: version of each installed package.
        installer: what installed them, `uv` or `pip`.
    """

    python: str
    system: str = "Linux"
    cores: int = 1
    ram_gib: float = 0.0
    disk_gib: float = 0.0
    gpu: str | None = None
    vram_gib: float = 0.0
    free_vram_gib: float = 0.0
    driver: str | None = None
    capability: float = 0.0
    torch_cuda: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    installer: str = "pip"

    @property
    def bf16(self) -> bool:
        """Whether the GPU supports bfloat16."""
        return self.gpu is not None and self.capability >= BF16_CAPABILITY

    @property
    def usable_gpu(self) -> bool:
        """Whether there is a GPU and the installed torch was built for GPUs."""
        return self.gpu is not None and self.torch_cuda is not None

    @property
    def vllm(self) -> str | None:
        """The version of vLLM in whichever build is installed."""
        return self.versions.get("vllm", self.versions.get(CPU_BUILD))

    @property
    def place(self) -> Place:
        """The facts that decide which engines can generate here."""
        return Place(self.usable_gpu, self.capability, self.vllm is not None, CPU_BUILD in self.versions)


def this_machine() -> Machine:
    """Return the machine this process runs on."""
    name, total, free, driver, capability = gpu_facts() or (None, 0.0, 0.0, None, 0.0)
    found = {package: version for package in PACKAGES if (version := installed(package))}
    return Machine(
        python=platform.python_version(), system=platform.system(), cores=cores(), ram_gib=memory_gib(),
        disk_gib=free_disk_gib(), gpu=name, vram_gib=total, free_vram_gib=free, driver=driver, capability=capability,
        torch_cuda=torch_cuda(), versions=found, installer=installer(),
    )  # fmt: skip


def installer() -> str:
    """Return what installed the libraries, by the note that it leaves beside them: `uv`, else `pip`."""
    try:
        note = distribution("trl").read_text("INSTALLER") or ""
    except PackageNotFoundError:
        return "pip"
    return "uv" if note.strip() == "uv" else "pip"


def gpu_facts() -> tuple[str, float, float, str, float] | None:
    """Return name, total GiB, free GiB, driver and capability of the first GPU according to nvidia-smi."""
    query = "name,memory.total,memory.free,driver_version,compute_cap"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_gpu(answer)


def parse_gpu(answer: str) -> tuple[str, float, float, str, float] | None:
    """Parse the first line of nvidia-smi's output, with memory in MiB; None if it does not describe a GPU."""
    words = [word.strip() for word in answer.strip().split("\n")[0].split(",")]
    try:
        name, total, free, driver, capability = words
        return name, float(total) / 1024, float(free) / 1024, driver, float(capability)
    except ValueError:
        return None


def torch_cuda() -> str | None:
    """Return the CUDA version of the installed torch from its version.py, because importing torch takes seconds."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^cuda\b[^=]*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return found.group(1) if found else None


def cores() -> int:
    """Return the number of processors available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gib() -> float:
    """Return the memory of this machine or container in GiB; 0 on Windows, where it is unknown."""
    if sys.platform == "win32":
        return 0.0
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # `max`: no limit
        limit = whole
    return min(whole, limit) / GIB


def free_disk_gib() -> float:
    """Return the free space in GiB of the disk that models are downloaded to."""
    folder = Path(os.environ.get("HF_HOME") or Path.home() / ".cache")
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / GIB
