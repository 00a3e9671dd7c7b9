"""Pretend that this machine has one H100: "cuda" means the CPU, and Triton's kernels run in its interpreter.

    python benchmarks/gpu_kit/fakecuda.py SCRIPT [ARGUMENT ...]      runs SCRIPT on the pretended card

For rehearsals only, never for figures. Unsloth takes its whole CUDA path; what is replaced is the silicon, and
bitsandbytes' CUDA library by its own CPU operators. The backward pass of FlexAttention cannot run on a CPU, so set
UNSLOTH_GRPO_PREFIX_GROUPER=0 for training steps. Sizes that Unsloth asks the card for are those of the process.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read by torch and Triton while they are imported.
os.environ.setdefault("TRITON_INTERPRET", "1")
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
os.environ.setdefault("UNSLOTH_COMPILE_DISABLE", "1")

import torch
from torch.overrides import TorchFunctionMode

CPU = torch.device("cpu")
FREE, TOTAL = 80_000_000_000, 85_000_000_000  # bytes
CARD = types.SimpleNamespace(
    name="NVIDIA H100 80GB HBM3 (pretended)", total_memory=TOTAL, major=9, minor=0, multi_processor_count=132,
    warp_size=32, max_threads_per_multi_processor=2048, regs_per_multiprocessor=65536, L2_cache_size=52428800,
    shared_memory_per_block=49152, shared_memory_per_block_optin=232448, shared_memory_per_multiprocessor=233472,
    gcnArchName="", uuid="0", is_integrated=False, is_multi_gpu_board=False,
)  # fmt: skip
SIZES = ("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved", "device_memory_used")
DONE = (
    "init", "_lazy_init", "set_device", "synchronize", "empty_cache", "ipc_collect", "reset_peak_memory_stats",
    "reset_max_memory_allocated", "set_per_process_memory_fraction", "seed", "manual_seed", "manual_seed_all",
    "set_rng_state", "set_rng_state_all",
)  # fmt: skip


def on_cpu(value: Any) -> Any:
    """Return the CPU where `value` names a CUDA device, else `value`."""
    if isinstance(value, torch.device) and value.type == "cuda":
        return CPU
    if isinstance(value, str) and value.partition(":")[0] == "cuda":
        return "cpu"
    return value


def device_on_cpu(value: Any) -> Any:
    """Return the same for what can only be a device, where a number is one of a card."""
    return CPU if type(value) is int else on_cpu(value)


class CudaIsCpu(TorchFunctionMode):
    """Read CUDA devices as the CPU in every call of torch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.device:
            return func(*args, **kwargs)
        if func in (torch.Tensor.cuda, torch.Tensor.pin_memory):
            return args[0]
        if func is torch.Tensor.record_stream:
            return None
        if "device" in kwargs:
            kwargs["device"] = device_on_cpu(kwargs["device"])
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        if func is torch.Tensor.to and len(args) > 1:
            args = (args[0], device_on_cpu(args[1]), *args[2:])
        else:
            args = tuple(map(on_cpu, args))
        return func(*args, **kwargs)


class Device(contextlib.nullcontext):  # type: ignore[type-arg]
    """Stand for `torch.cuda.device`."""

    idx = prev_idx = 0

    def __init__(self, device: Any = None) -> None:
        super().__init__()


class Stream:
    """Stand for `torch.cuda.Stream`: everything is done at once."""

    cuda_stream = 0
    device = CPU

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def synchronize(self) -> None: ...

    def wait_stream(self, *_: Any) -> None: ...

    def wait_event(self, *_: Any) -> None: ...

    def record_event(self, *_: Any) -> Event:
        return Event()

    def query(self) -> bool:
        return True

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: Any) -> None: ...


class Event:
    """Stand for `torch.cuda.Event`."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.time = 0.0

    def record(self, *_: Any) -> None:
        self.time = time.perf_counter()

    def synchronize(self) -> None: ...

    def wait(self, *_: Any) -> None: ...

    def query(self) -> bool:
        return True

    def elapsed_time(self, other: Event) -> float:
        return (other.time - self.time) * 1e3


def answer(make: Callable[[], Any]) -> Any:
    """Return a function, a new one for every name, that returns what `make` does, whatever it is given."""
    return lambda *_, **__: make()


def always(value: Any) -> Any:
    """Return a function that returns `value`, whatever it is given."""
    return answer(lambda: value)


def process_bytes() -> int:
    """Return the memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def pretend_card() -> None:
    """Let `torch.cuda` and `torch.accelerator` speak of one card."""
    state = torch.zeros(16, dtype=torch.uint8)
    fakes = {
        "is_available": always(True), "is_initialized": always(True), "device_count": always(1),
        "current_device": always(0), "get_device_name": always(CARD.name), "get_device_properties": always(CARD),
        "get_device_capability": always((CARD.major, CARD.minor)), "get_arch_list": always(["sm_90"]),
        "is_bf16_supported": lambda including_emulation=True: True,  # Unsloth looks at its parameters
        "is_current_stream_capturing": always(False),
        "mem_get_info": always((FREE, TOTAL)), "memory_stats": always({}),
        "get_rng_state": always(state), "get_rng_state_all": always([state]),
        "Stream": Stream, "Event": Event, "device": Device, "device_of": Device,
        "current_stream": answer(Stream), "default_stream": answer(Stream), "stream": answer(contextlib.nullcontext),
        **{name: answer(process_bytes) for name in SIZES}, **{name: always(None) for name in DONE},
    }  # fmt: skip
    for name, fake in fakes.items():
        for module in (torch.cuda, torch.cuda.random, torch.cuda.memory):
            if module is torch.cuda or hasattr(module, name):
                setattr(module, name, fake)
    for name, value in {"is_available": True, "current_accelerator": torch.device("cuda"), "current_device_index": 0,
                        "device_count": 1, "synchronize": None, "get_memory_info": (FREE, TOTAL)}.items():  # fmt: skip
        setattr(torch.accelerator, name, always(value))
    core = {"_cuda_getDeviceCount": 1, "_cuda_getDevice": 0, "_cuda_setDevice": None, "_cuda_exchangeDevice": 0,
            "_cuda_maybeExchangeDevice": 0, "_cuda_getCurrentRawStream": 0}  # fmt: skip
    for name, value in core.items():
        setattr(torch._C, name, always(value))


def autocast_on_cpu() -> None:
    """Let autocast for CUDA be that of the CPU."""
    enter = torch.autocast.__init__
    torch.autocast.__init__ = lambda self, device_type, *a, **k: enter(self, on_cpu(str(device_type)), *a, **k)
    torch.get_autocast_gpu_dtype = lambda: torch.get_autocast_dtype("cpu")
    for name in ("is_autocast_enabled", "get_autocast_dtype", "set_autocast_dtype", "set_autocast_enabled"):
        setattr(torch, name, of_cpu(getattr(torch, name)))


def of_cpu(function: Any) -> Any:
    """Return a function whose first argument, a kind of device, is the CPU's unless another is named."""
    return lambda kind="cpu", *rest: function(on_cpu(str(kind)) if not isinstance(kind, bool) else kind, *rest)


def tensors_on_cpu() -> None:
    """Let tensors, modules, generators and threads know of no card."""
    generator, fork, run = torch.Generator, torch.random.fork_rng, threading.Thread.run

    class Generator(generator):  # type: ignore[valid-type, misc]
        def __new__(cls, device: Any = "cpu") -> Any:
            return generator.__new__(cls, "cpu")

    def run_on_cpu(thread: threading.Thread) -> None:
        with CudaIsCpu():
            run(thread)

    torch.Generator = Generator
    torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *_, **__: self
    torch.random.fork_rng = lambda devices=None, *a, **k: fork([], *a, **k)
    threading.Thread.run = run_on_cpu
    CudaIsCpu().__enter__()


def attention_on_cpu() -> None:
    import torch.nn.attention.flex_attention as flex

    torch.backends.cuda.is_flash_attention_available = always(True)
    flex._validate_device = always(None)


def import_unsloth() -> None:
    """Import Unsloth, and put bitsandbytes' CPU operators in place of its CUDA library wherever Unsloth calls it."""
    import unsloth  # noqa: F401
    from bitsandbytes.functional import dequantize_4bit

    def fast_dequantize(
        weight: Any, quant_state: Any = None, out: Any = None, use_global_buffer: bool = False, dtype: Any = None
    ) -> Any:
        if quant_state is None:
            return weight
        turned = weight.shape[0] == 1
        found = dequantize_4bit(weight.t() if turned else weight, quant_state)
        found = found.t() if turned else found
        found = found if dtype is None else found.to(dtype)
        return found if out is None else out.copy_(found)

    def fast_gemv(x: Any, weight: Any, quant_state: Any, out: Any = None) -> Any:
        found = torch.matmul(x, dequantize_4bit(weight, quant_state).t().to(x.dtype))
        return found if out is None else out.copy_(found)

    for name, module in list(sys.modules.items()):
        for fake in (fast_dequantize, fast_gemv) if name.startswith("unsloth") else ():
            if fake.__name__ in vars(module):
                setattr(module, fake.__name__, fake)


def keep_ldconfig_away() -> None:
    """Let `ldconfig` do nothing: Unsloth, where it is root, has it look for CUDA's libraries."""
    stub = Path(tempfile.mkdtemp(prefix="fakecuda-")) / "ldconfig"
    stub.write_text("#!/bin/sh\n")
    stub.chmod(0o755)
    os.environ["PATH"] = os.pathsep.join([str(stub.parent), os.environ.get("PATH", "")])


def main() -> None:
    keep_ldconfig_away()
    pretend_card()
    autocast_on_cpu()
    attention_on_cpu()
    tensors_on_cpu()
    import_unsloth()
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
