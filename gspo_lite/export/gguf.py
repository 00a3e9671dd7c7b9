"""GGUF files, written by llama.cpp's converter where it is installed. Must not know adapters or recipes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from gspo_lite.errors import MachineError, RunError

CONVERTER = "convert_hf_to_gguf.py"
PLACES = (Path("llama.cpp"), Path.home() / "llama.cpp")  # where a clone usually lies; $LLAMA_CPP comes first
# Weights are merged in the type they end up in, so that they are rounded once; q8_0 starts from either 16-bit type.
WIDTHS = {"f16": "float16", "bf16": "bfloat16", "f32": "float32"}
SOURCE = "https://github.com/ggml-org/llama.cpp"
INSTALL = f"`git clone --depth 1 {SOURCE}` and `pip install gguf`; LLAMA_CPP names the clone where it lies elsewhere"


def find_converter() -> Path:
    """llama.cpp's converter: in $LLAMA_CPP, on the PATH, or in a clone in the current or the home folder.

    Raises:
        MachineError: where it is in none of them, or the package that reads GGUF is missing.
    """
    named = os.environ.get("LLAMA_CPP")
    folders = [Path(named).expanduser()] if named else []
    on_path = shutil.which(CONVERTER)
    found = [folder / CONVERTER for folder in folders]
    found += [Path(on_path)] if on_path else []
    found += [folder / CONVERTER for folder in PLACES]
    for path in found:
        if path.is_file():
            break
    else:
        raise MachineError(f"GGUF is written by llama.cpp's `{CONVERTER}`, which is not on this machine", INSTALL)
    if find_spec("gguf") is None:
        raise MachineError("the package gguf, which reads a GGUF file back, is not installed", "`pip install gguf`")
    return path


def convert(converter: Path, model: Path, file: Path, outtype: str) -> None:
    """Convert a model folder to one GGUF file.

    Raises:
        RunError: with the converter's last line where it fails.
    """
    command = [sys.executable, str(converter), str(model), "--outfile", str(file), "--outtype", outtype]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode or not file.is_file():
        said = (done.stderr.strip() or done.stdout.strip() or "nothing was written").splitlines()[-1]
        raise RunError(
            f"llama.cpp's `{CONVERTER}` failed with exit code {done.returncode}: {said}",
            "its clone may be too old for this model, or the model has no place in GGUF; export --to merged instead",
        )
