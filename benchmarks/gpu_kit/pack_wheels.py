#!/usr/bin/env python3
"""Pack the wheels that a bare GPU machine needs to run this project, small enough to travel there.

    python3 benchmarks/gpu_kit/pack_wheels.py [--out .whl] [NAME==VERSION ...]      from the repository's root; 13 MiB

The machine has Python 3.12, CUDA 13 and torch 2.11 with transformers, peft, accelerate, triton, pyarrow, pandas,
matplotlib and pytest (installed.txt lists them all), but no network. The wheels below are missing there. Two are mostly
weight that a run never loads (a web studio, CUDA builds for other toolkits) and are repacked without it. A requirement
on the command line replaces the pin of that name, or comes along. The folder is emptied first, since two versions of
one package stop the whole install. Printed at the end: sizes, and what the project with its extra `unsloth` and the
wheels ask for that is neither there nor packed, which must be nothing.

There, before anything else (common.sh does it):
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site .whl/*.whl
    export PYTHONPATH=/tmp/site HF_HUB_OFFLINE=1 UNSLOTH_DISABLE_STATISTICS=1
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

WHEELS = {
    "unsloth": "2026.10.9", "unsloth-zoo": "2026.10.9", "trl": "1.14.2", "bitsandbytes": "0.50.2",
    "datasets": "4.8.5", "dill": "0.4.1", "multiprocess": "0.70.19",  # datasets and what it needs
    "pydantic": "2.14.4", "pydantic-core": "2.50.5", "annotated-types": "0.8.0", "typing-inspection": "0.4.5",
    "ruamel-yaml": "0.19.1",
    "math-verify": "0.9.0", "latex2sympy2-extended": "1.11.0", "antlr4-python3-runtime": "4.13.2",
    "jsonschema": "4.26.0", "referencing": "0.37.0", "rpds-py": "2026.9.1", "jsonschema-specifications": "2025.9.1",
    "gguf": "0.19.0",  # transformers reads a GGUF model through it
}  # fmt: skip
# Asked for by this project (wandb, a tracker), Unsloth or torch's friends, and not used by a training run (tried
# without); xformers from PyPI is built for CUDA 12 and cannot load beside torch for CUDA 13.
UNUSED = {
    "cut-cross-entropy", "diffusers", "hf-transfer", "json5", "msgspec", "nest-asyncio", "structlog", "torchao", "tyro",
    "wandb", "xformers",
}  # fmt: skip
PLATFORMS = (
    "manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_24_x86_64", "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
)  # fmt: skip
MACHINE = {
    "python_version": "3.12", "python_full_version": "3.12.3", "sys_platform": "linux", "platform_system": "Linux",
    "platform_machine": "x86_64", "platform_python_implementation": "CPython", "extra": "",
}  # fmt: skip
INSTALLED = Path(__file__).with_name("installed.txt")
PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def left_out_of_unsloth(name: str) -> bool:
    return name.startswith(("studio/", "unsloth_cli/"))


def left_out_of_bitsandbytes(name: str) -> bool:
    return name.endswith(".so") and not name.endswith(("cuda130.so", "_cpu.so"))


def plain(name: str) -> str:
    """Return a package's name as an index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins_of(also: list[str]) -> dict[str, str]:
    """Return the version of every package, those of the command line first."""
    return WHEELS | {plain(name): version for name, _, version in (one.partition("==") for one in also)}


def download(requirements: list[str], folder: Path) -> None:
    command = [
        sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary=:all:", "--python-version", "3.12",
        "--implementation", "cp", "-d", str(folder),
    ]  # fmt: skip
    for platform in PLATFORMS:
        command += ["--platform", platform]
    subprocess.run(command + requirements, check=True)


def repack(wheel: Path, left_out: Callable[[str], bool]) -> None:
    """Rewrite `wheel` in place without some of its members, and with a RECORD that matches."""
    slim, record, record_name = wheel.with_suffix(".slim"), [], ""
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(slim, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
        for name in old.namelist():
            if name.endswith(".dist-info/RECORD"):
                record_name = name
            elif not left_out(name):
                data = old.read(name)
                new.writestr(name, data)
                digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                record.append(f"{name},sha256={digest},{len(data)}")
        new.writestr(record_name, "\n".join([*record, f"{record_name},,", ""]))
    slim.replace(wheel)


def names_of(requirements: Iterable[str]) -> set[str]:
    """Return the names of the requirements that hold on that machine, extras left out."""
    try:
        from packaging.requirements import Requirement
    except ImportError:  # a bare Python has it inside pip only
        from pip._vendor.packaging.requirements import Requirement

    wanted = map(Requirement, requirements)
    return {plain(one.name) for one in wanted if one.marker is None or one.marker.evaluate(MACHINE)}


def asked_for(wheel: Path) -> set[str]:
    """Return the names that the wheel requires there."""
    with zipfile.ZipFile(wheel) as members:
        name = next(name for name in members.namelist() if name.endswith(".dist-info/METADATA"))
        lines = members.read(name).decode().partition("\n\n")[0].splitlines()
    return names_of(line.split(":", 1)[1] for line in lines if line.startswith("Requires-Dist:"))


def asked_for_by_the_project() -> set[str]:
    """Return the names that this project and its extra `unsloth` require there."""
    import tomllib

    project = tomllib.loads(PROJECT.read_text())["project"]
    return names_of([*project["dependencies"], *project["optional-dependencies"]["unsloth"]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("also", nargs="*", metavar="NAME==VERSION")
    parser.add_argument("--out", type=Path, default=Path(".whl"))
    args = parser.parse_args()
    args.out.mkdir(exist_ok=True)
    for old in args.out.glob("*.whl"):
        old.unlink()
    download([f"{name}=={version}" for name, version in pins_of(args.also).items()], args.out)
    wheels = {plain(path.name.split("-")[0]): path for path in sorted(args.out.glob("*.whl"))}
    repack(wheels["unsloth"], left_out_of_unsloth)
    repack(wheels["bitsandbytes"], left_out_of_bitsandbytes)
    sizes = {path.name: path.stat().st_size / 2**20 for path in wheels.values()}
    for name, size in sizes.items():
        print(f"{size:8.2f} MiB  {name}")
    print(f"{sum(sizes.values()):8.2f} MiB  in all")
    there = {plain(name) for name in INSTALLED.read_text().splitlines() if not name.startswith("#")}
    asked = {"this project": asked_for_by_the_project()} | {name: asked_for(path) for name, path in wheels.items()}
    missing = {name: sorted(names - there - wheels.keys() - UNUSED) for name, names in asked.items()}
    print("missing:", {name: lacks for name, lacks in missing.items() if lacks} or "nothing")


if __name__ == "__main__":
    main()
