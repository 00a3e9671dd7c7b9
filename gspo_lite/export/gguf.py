"""Writes GGUF files with llama.cpp's converter, if it is installed. Must not know adapters or recipes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from gspo_lite.errors import MachineError, RunError

CONVERTER = "convert_hf_to_gguf.py"
PLACES = (Path("llama.cpp"), Path.home() / "llama.cpp")  # usual places of a clone; $LLAMA_CPP comes first
# Weights are merged in their final type and so rounded only once; q8_0 starts from either 16-bit type.
WIDTHS = {"f16": "float16", "bf16": "bfloat16", "f32": "float32"}
SOURCE = "https://github.com/ggml-org/llama.cpp"
INSTALL = f"`git clone --depth 1 {SOURCE}` and `pip install gguf`; set LLAMA_CPP if the clone is elsewhere"


def find_converter() -> Path:
    """Return llama.cpp's converter: in $LLAMA_CPP, on the PATH, or in a clone in the current or the home folder.

    Raises:
        MachineError: the converter or the package that reads GGUF is missing.
    """
    named, on_path = os.environ.get("LLAMA_CPP"), shutil.which(CONVERTER)
    places = [Path(named).expanduser() / CONVERTER] if named else []
    places += [Path(on_path)] if on_path else []
    places += [folder / CONVERTER for folder in PLACES]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise MachineError(f"GGUF is written by llama.cpp's `{CONVERTER}`, which is not on this machine", INSTALL)
    if find_spec("gguf") is None:
        raise MachineError("the package gguf, which reads a GGUF file back, is not installed", "`pip install gguf`")
    return path


def convert(converter: Path, model: Path, file: Path, outtype: str) -> None:
    """Convert a model folder to one GGUF file; raise RunError with the converter's last line if it fails."""
    command = [sys.executable, str(converter), str(model), "--outfile", str(file), "--outtype", outtype]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode or not file.is_file():
        said = (done.stderr.strip() or done.stdout.strip() or "nothing was written").splitlines()[-1]
        raise RunError(
            f"llama.cpp's `{CONVERTER}` failed with exit code {done.returncode}: {said}",
            "the clone may be too old for this model, or GGUF may not support it; export --to merged instead",
        )
