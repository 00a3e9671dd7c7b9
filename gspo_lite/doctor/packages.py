"""Checks of installed packages against allowed ranges and the tested set, and the command that installs this set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

import gspo_lite
from gspo_lite.doctor.check import Check
from gspo_lite.doctor.machine import Machine
from gspo_lite.errors import MachineError

PACKAGE = Path(gspo_lite.__file__).parent
TESTED = PACKAGE / "tested_versions.json"
USUAL, NEWEST = "usual", "newest"  # rows of the tested sets: what is installed with Unsloth, and without it
MATRIX = ("torch", "trl", "transformers", "datasets", "peft", "accelerate", "bitsandbytes", "unsloth")
WITH_UNSLOTH = "`pip install 'gspo-lite[unsloth]'`"
# The oldest driver for a CUDA version according to NVIDIA's release notes (Linux).
DRIVER_FOR_CUDA = {11: 450, 12: 525, 13: 580}
LEAST_CAPABILITY = {11: 3.5, 12: 5.0, 13: 7.5}  # CUDA 13 dropped Pascal and Volta


def tested_sets() -> dict[str, dict[str, str]]:
    """Return the exact versions that were tested together: the oldest, the usual and the newest set."""
    return json.loads(TESTED.read_text(encoding="utf-8"))


def stack_of(machine: Machine) -> str:
    """Return the name of the tested set to compare a machine with.

    With Unsloth, or with nothing installed yet, that is the usual set; else the one that has the TRL of this machine.
    """
    trl = machine.versions.get("trl")
    if trl is None or "unsloth" in machine.versions:
        return USUAL
    return next((name for name, versions in tested_sets().items() if versions["trl"] == trl), NEWEST)


def tested_set(machine: Machine) -> dict[str, str]:
    """Return the tested versions to compare a machine with."""
    return tested_sets()[stack_of(machine)]


def allowed_ranges() -> dict[str, SpecifierSet]:
    """Return the ranges that the metadata of this package allows, apart from those that an extra narrows."""
    found = [Requirement(text) for text in declared()[1]]
    return {requirement.name: requirement.specifier for requirement in reversed(found)}  # extras come last


def declared() -> tuple[str, list[str]]:
    """Return the Python range and the requirements of this package, from pyproject.toml if it is not installed.

    Raises:
        MachineError: it is not installed, and pyproject.toml is missing or cannot be read (before Python 3.11).
    """
    try:
        return metadata("gspo-lite")["Requires-Python"], requires("gspo-lite") or []
    except PackageNotFoundError:
        pass
    try:
        import tomllib

        project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (ImportError, OSError) as error:
        raise MachineError("gspo-lite is not installed, so its requirements are unknown", "`pip install .`") from error
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    return project["requires-python"], project["dependencies"] + extras


def inside(version: str, allowed: SpecifierSet) -> bool:
    """Return whether a version is valid and in a range."""
    try:
        return allowed.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def install_line(machine: Machine) -> str:
    """Return the command that installs the tested set on this machine.

    The torch of the index is built for the newest CUDA. If driver or GPU are too old for that, uv chooses the build by
    the driver.
    """
    source = "." if (PACKAGE.parent / "pyproject.toml").is_file() else f"gspo-lite=={gspo_lite.__version__}"
    versions = tested_set(machine)
    command = "uv pip install" if machine.installer == "uv" else "pip install"
    if machine.gpu and not tested_torch_runs(machine):
        command = "uv pip install --torch-backend=auto"
    return " ".join([command, source, *(f"{name}=={versions[name]}" for name in MATRIX if name in versions)])


def tested_torch_runs(machine: Machine) -> bool:
    """Return whether driver and GPU are new enough for the CUDA version of the tested torch."""
    return cuda_obstacle(machine, tested_set(machine)["cuda"]) is None


def cuda_obstacle(machine: Machine, cuda: str) -> str | None:
    """Return why torch built for this CUDA version cannot use the GPU of the machine, or None."""
    major = int(cuda.split(".")[0])
    if machine.driver and int(machine.driver.split(".")[0]) < DRIVER_FOR_CUDA.get(major, 0):
        return f"CUDA {cuda} needs driver {DRIVER_FOR_CUDA[major]} or later"
    if machine.capability < LEAST_CAPABILITY.get(major, 0):
        return f"CUDA {cuda} no longer runs on compute capability {machine.capability}"
    return None


def python(machine: Machine) -> Iterator[Check]:
    allowed, _ = declared()
    tested = tested_set(machine)["python"]
    if machine.python not in SpecifierSet(allowed):
        yield Check("python", "fail", machine.python, f"install Python {allowed}")
    elif not machine.python.startswith(f"{tested}."):
        yield Check("python", "ok", f"{machine.python}, allowed ({allowed}); tested with {tested}")
    else:
        yield Check("python", "ok", f"{machine.python}, as tested")


def stack(machine: Machine) -> Iterator[Check]:
    """Say whether Unsloth is part of what is installed, and which tested set that makes it."""
    name, versions = stack_of(machine), tested_set(machine)
    libraries = f"trl {versions['trl']} and transformers {versions['transformers']}"
    if "unsloth" in machine.versions:
        yield Check("stack", "ok", f"with Unsloth, which has an upper bound of its own: the {name} set, {libraries}")
        return
    found = f"without Unsloth, TRL's own trainer on transformers and PEFT: the {name} set, {libraries}"
    if machine.usable_gpu:
        yield Check("stack", "warn", found, f"{WITH_UNSLOTH} trains faster and in less memory, on older versions")
    else:
        yield Check("stack", "ok", found)


def matrix(machine: Machine) -> Iterator[Check]:
    """Check each package of the tested set: installed, allowed and tested versions."""
    allowed, tested = allowed_ranges(), tested_set(machine)
    for name in MATRIX:
        if name == "unsloth" and name not in machine.versions:
            continue  # `stack` says so
        found, known = machine.versions.get(name), f"tested: {tested[name]}"
        if found is None:
            yield Check(name, "fail", f"not installed; {known}", install_line(machine))
        elif not inside(found, allowed[name]):
            yield Check(name, "fail", f"{found}, outside {allowed[name]}; {known}", install_line(machine))
        elif found.split("+")[0] != tested[name]:
            yield Check(name, "warn", f"{found}, allowed ({allowed[name]}) but untested; {known}")
        else:
            yield Check(name, "ok", f"{found}, as tested")


def engines(machine: Machine) -> Iterator[Check]:
    found, allowed = machine.vllm, allowed_ranges()["vllm"]
    if found is None:
        advice = "`pip install 'gspo-lite[vllm]'` makes generation faster" if machine.usable_gpu else ""
        yield Check("vllm", "ok", "not installed; transformers generates completions", advice)
    elif not inside(found, allowed):
        yield Check("vllm", "fail", f"{found}, outside {allowed}", "`pip install 'gspo-lite[vllm]'`")
    elif not machine.usable_gpu and not machine.place.cpu_build:
        yield Check("vllm", "ok", f"{found}, not used without a GPU")
    else:
        yield Check("vllm", "ok", found + (", CPU build" if machine.place.cpu_build else ""))
