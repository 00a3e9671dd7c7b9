"""Checks of the GPU, driver, memory and disk of a machine."""

from __future__ import annotations

from collections.abc import Iterator

from gspo_lite.doctor.check import Check, Status
from gspo_lite.doctor.machine import Machine
from gspo_lite.doctor.packages import cuda_obstacle, install_line

LEAST_RAM_GIB, LEAST_DISK_GIB = 3.0, 1.0  # quickstart peaks at 1.4 GB and writes less than 0.1 GB
MODEL_DISK_GIB = 10.0  # a 4B model is a download of 3 to 8 GB
SMALL_VRAM_GIB = 5.5


def system(machine: Machine) -> Iterator[Check]:
    if machine.system == "Linux":
        yield Check("system", "ok", "Linux")
    else:
        yield Check("system", "warn", f"{machine.system}, untested", "on Windows use WSL 2")


def gpu(machine: Machine) -> Iterator[Check]:
    if machine.gpu is None:
        advice = "small models such as that of quickstart train on the CPU; larger ones need an NVIDIA GPU"
        yield Check("gpu", "warn", f"no NVIDIA GPU; {machine.cores} CPU cores", advice)
        return
    small = machine.vram_gib < SMALL_VRAM_GIB
    found = f"{machine.gpu}, {machine.vram_gib:.1f} GiB, {machine.free_vram_gib:.1f} GiB free"
    busy = machine.free_vram_gib < 0.8 * machine.vram_gib
    advice = "another program uses the GPU; close it before a run (`nvidia-smi` lists it)" if busy else ""
    yield Check("gpu", "warn" if busy or small else "ok", found, advice or ("only small models fit" if small else ""))


def driver(machine: Machine) -> Iterator[Check]:
    if machine.gpu is None or "torch" not in machine.versions:
        return
    if machine.torch_cuda is None:
        found = "the installed torch is a CPU build and cannot use the GPU"
        yield Check("driver", "fail", found, install_line(machine))
        return
    obstacle = cuda_obstacle(machine, machine.torch_cuda)
    found = f"{machine.driver}; torch was built for CUDA {machine.torch_cuda}"
    if obstacle:
        yield Check("driver", "fail", f"{found}; {obstacle}", f"update the driver, or {install_line(machine)}")
    else:
        yield Check("driver", "ok", found)


def precision(machine: Machine) -> Iterator[Check]:
    if machine.gpu is None:
        yield Check("precision", "ok", "float32 on the CPU")
    elif machine.bf16:
        yield Check("precision", "ok", f"bfloat16 (compute capability {machine.capability})")
    else:
        found = f"no bfloat16 (compute capability {machine.capability})"
        yield Check("precision", "warn", found, "keep model.dtype=auto, which means float16 here")


def memory(machine: Machine) -> Iterator[Check]:
    if not machine.ram_gib:
        return
    status: Status = "fail" if machine.ram_gib < LEAST_RAM_GIB else "ok"
    advice = f"a run needs at least {LEAST_RAM_GIB:.0f} GiB" if status == "fail" else ""
    yield Check("memory", status, f"{machine.ram_gib:.1f} GiB", advice)


def disk(machine: Machine) -> Iterator[Check]:
    found = f"{machine.disk_gib:.1f} GiB free for models"
    if machine.disk_gib < LEAST_DISK_GIB:
        yield Check("disk", "fail", found, "free some space, or set HF_HOME to a folder on another disk")
    elif machine.disk_gib < MODEL_DISK_GIB:
        yield Check("disk", "warn", found, "a 4B model is a download of 3 to 8 GB; HF_HOME selects another disk")
    else:
        yield Check("disk", "ok", found)
