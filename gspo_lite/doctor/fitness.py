"""Checks of a recipe's settings against a machine, which `gspo-lite check` does not know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from gspo_lite.doctor.check import Check, Status
from gspo_lite.doctor.machine import Machine
from gspo_lite.errors import GspoLiteError, MachineError
from gspo_lite.models.engines import Engine, backend_for, choose_engine, fp8_obstacles, unheeded
from gspo_lite.models.gguf_file import config_of, is_gguf
from gspo_lite.models.names import is_local_model
from gspo_lite.recipe.schema import Recipe
from gspo_lite.sizing.memory import GIB, Room
from gspo_lite.sizing.plan import gib, has_images, peak_of, plan, settings_of

MARGIN = 0.95  # of the actual memory; the rest is lost to fragmentation
ANY_TO_FP8 = 9.0  # compute capability from which Unsloth converts any model to FP8 while it loads it


def dtype(recipe: Recipe, machine: Machine) -> Iterator[Check]:
    wanted, place = recipe.model.dtype, "model.dtype"
    if wanted == "bfloat16" and machine.usable_gpu and not machine.bf16:
        found = f"`bfloat16`, which {machine.gpu} (compute capability {machine.capability}) does not support"
        yield Check(place, "fail", found, "set model.dtype=auto, which means float16 here")
    elif wanted == "float16" and not machine.usable_gpu:
        yield Check(place, "fail", "`float16` without a GPU", "set model.dtype=auto, which means float32 here")
    elif wanted == "float16" and machine.bf16:
        found = "`float16` although bfloat16 works; gradients can overflow"
        yield Check(place, "warn", found, "set model.dtype=auto, which means bfloat16 here")
    elif wanted == "float32" and machine.usable_gpu:
        yield Check(place, "warn", "`float32` on a GPU: twice the memory", "set model.dtype=auto")


def model(recipe: Recipe, machine: Machine) -> Iterator[Check]:
    """Check a model that is in a file; a hub model is looked for when it is loaded."""
    name = recipe.model.name
    try:
        if is_local_model(name) and is_gguf(name):
            config_of(Path(name).expanduser(), name)
    except GspoLiteError as error:
        yield Check("model.name", "fail", error.message, error.hint or "")


def engine(recipe: Recipe, machine: Machine) -> Iterator[Check]:
    """Check the engine that a run would use for completions."""
    name = "generation.engine"
    try:
        chosen = engine_of(recipe, machine)
    except MachineError as error:
        lacking = error.message.partition("cannot run here: ")[2]
        advice = "set generation.engine=auto"
        with suppress(MachineError):
            engine_of(recipe, replace(machine, versions=machine.versions | {"vllm": ""}))
            advice += ", or `pip install 'gspo-lite[vllm]'`"
        yield Check(name, "fail", f"`{recipe.generation.engine}` cannot run here: {lacking}", advice)
        return
    yield Check(name, "ok", f"completions by {chosen.title}")


def engine_of(recipe: Recipe, machine: Machine) -> Engine:
    """Return the engine that a run of this recipe uses on this machine.

    Raises:
        MachineError: no engine that the recipe allows can run.
    """
    wanted, images = recipe.generation.engine, has_images(recipe)
    return choose_engine(wanted, recipe.model, backend_of(recipe, machine), images=images, place=machine.place)


def backend_of(recipe: Recipe, machine: Machine) -> str:
    """Return the backend that a run of this recipe uses on this machine."""
    unsloth, gpu = "unsloth" in machine.versions, machine.usable_gpu
    return backend_for(recipe.model, unsloth=unsloth, gpu=gpu, images=has_images(recipe))


def backend(recipe: Recipe, machine: Machine) -> Iterator[Check]:
    if recipe.model.backend == "unsloth" and "unsloth" not in machine.versions:
        advice = "set model.backend=auto, or `pip install 'gspo-lite[unsloth]'`"
        yield Check("model.backend", "fail", "`unsloth`, which is not installed", advice)


def four_bits(recipe: Recipe, machine: Machine) -> Iterator[Check]:
    name = "load_in_8bit" if recipe.model.load_in_8bit else "load_in_4bit"
    if not getattr(recipe.model, name) or "bitsandbytes" in machine.versions:
        return
    status: Status = "fail" if machine.usable_gpu else "warn"
    times = "twice" if recipe.model.load_in_8bit else "four times"
    found = f"`true` without bitsandbytes: the weights would be loaded unquantized, at {times} the size"
    yield Check(f"model.{name}", status, found, f"`pip install bitsandbytes`, or set model.{name}=false")


def eight_bit_floats(recipe: Recipe, machine: Machine) -> Iterator[Check]:
    """Check the keys that ask for FP8, and those that only vLLM inside Unsloth heeds."""
    wanted, place = recipe.model, machine.place
    obstacles = dict(fp8_obstacles(wanted, backend_of(recipe, machine), place))
    for key, missing in obstacles.items():
        yield Check(f"model.{key}", "fail", f"`true`, which needs {missing}", f"set model.{key}=false")
    if wanted.load_in_fp8 and not obstacles and place.capability < ANY_TO_FP8:
        found = f"`true` on compute capability {place.capability}: Unsloth loads what is published in FP8"
        advice = f"any other model is converted from compute capability {ANY_TO_FP8} on"
        yield Check("model.load_in_fp8", "warn", found, advice)
    with suppress(MachineError):
        idle = unheeded(wanted, engine_of(recipe, machine).fast_inference)
        for key in (key for key in idle if key not in obstacles):
            found = "`true` has no effect without vLLM inside Unsloth"
            yield Check(f"model.{key}", "warn", found, "`pip install 'gspo-lite[vllm]'`, or remove it")


def optimizer(recipe: Recipe, machine: Machine) -> Iterator[Check]:
    wanted = recipe.training.optim
    if ("8bit" in wanted or "paged" in wanted) and "bitsandbytes" not in machine.versions:
        found = f"`{wanted}`, which needs bitsandbytes"
        yield Check("training.optim", "fail", found, "set training.optim=adamw_torch")


def trackers(recipe: Recipe, machine: Machine) -> Iterator[Check]:
    for name in recipe.output.report_to:
        if name != "none" and name not in machine.versions:
            advice = f"`pip install {name}`, or set output.report_to=[none]"
            yield Check("output.report_to", "fail", f"`{name}`, which is not installed", advice)


def fits(recipe: Recipe, machine: Machine) -> Iterator[Check]:
    """Check the predicted peak of a recipe against the memory of the GPU, or of the machine without one."""
    room = room_of(recipe, machine)
    if not room.total:
        return
    try:
        found = plan(recipe, room)
    except GspoLiteError as error:
        yield Check("fits", "warn", f"not predicted: {error.message}", error.hint or "")
        return
    where = "GPU memory" if room.gpu else "memory"
    figures = f"the peak is {gib(peak_of(found.phases))} GiB, and {gib(room.usable)} GiB of {where} are usable"
    if found.fits:
        yield Check("fits", "ok", figures)
        return
    settings = " ".join(f"--set {one}" for step in found.suggestions for one in settings_of(step.change))
    advice = f"add {settings}" if found.fits_changed else "use a smaller model or a larger GPU"
    yield Check("fits", "fail", f"does not fit: {figures}", f"{advice} (`gspo-lite plan` explains)")


def room_of(recipe: Recipe, machine: Machine) -> Room:
    """Return the memory of the machine for this recipe, assuming transformers if no allowed engine can run."""
    total = (machine.vram_gib if machine.usable_gpu else machine.ram_gib) * GIB
    try:
        chosen = engine_of(recipe, machine).name
    except MachineError:
        chosen = "transformers"
    backend, images = backend_of(recipe, machine), has_images(recipe)
    return Room(int(total), int(total * MARGIN), backend, chosen, gpu=machine.usable_gpu, images=images)


FITNESS = (model, dtype, engine, backend, four_bits, eight_bit_floats, optimizer, trackers, fits)
