"""The adapter that a recipe continues: where it is, and what its own configuration says about its base and its rank.

Imports nothing heavy, so that a recipe is checked before anything is loaded; `continued.py` loads it.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from gspo_lite.errors import MachineError, UsageError, first_line
from gspo_lite.models.names import STARTERS
from gspo_lite.recipe.model_settings import LoraSettings, ModelSettings
from gspo_lite.recipe.problem import Problem
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system import run_folder

ADAPTER_CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = "base_model_name_or_path"
FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")  # of an adapter on the hub
TWIN = re.compile(r"(-unsloth)?-bnb-4bit$")  # Unsloth's names for weights that were quantized beforehand
STARTER = re.compile(rf"({'|'.join(STARTERS)})(-[0-9a-f]{{12}})?")  # the folder of a starter in a cache
COMPARED = ("rank", "alpha", "target_modules")  # keys of `lora`; dropout is the recipe's


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter and no whole model."""
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file()


def adapter_named(model: ModelSettings) -> str | None:
    """Return the name of the adapter to continue: `model.adapter`, else `model.name` if that folder holds one."""
    return model.adapter or (model.name if is_adapter(Path(os.path.expanduser(model.name))) else None)


def local_adapter(name: str) -> Path | None:
    """Return the folder of an adapter that is on this machine, that of a run for the run's own; None for a hub id."""
    folder = Path(os.path.expanduser(name))
    if run_folder.is_run(folder):
        return folder / run_folder.ADAPTER
    looks_local = name.startswith((".", "/", "~")) or name.count("/") != 1
    return folder if looks_local or folder.exists() else None


def adapter_folder(name: str) -> Path:
    """Return the folder of an adapter, downloaded if it is a hub id.

    Raises:
        UsageError: it is not there, or holds no adapter. MachineError: the hub cannot be reached.
    """
    folder = local_adapter(name) or downloaded(name)
    wrong = fault_of(folder, name)
    if wrong:
        raise UsageError(f"`model.adapter`: {wrong}")
    return folder


def downloaded(name: str) -> Path:
    """Return the folder of the cache with a hub adapter's files."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except RepositoryNotFoundError as error:
        message = f"`model.adapter` `{name}` is neither a folder nor an adapter on the hub that you can access"
        raise UsageError(f"{message}: {first_line(error)}", "for a private one run `hf auth login` first") from error
    except (OSError, ValueError) as error:
        message = f"`model.adapter` `{name}` is not on this machine and the hub cannot be reached"
        raise MachineError(message, "go online once, or name a local folder") from error


def fault_of(folder: Path, name: str) -> str | None:
    """Return why a folder cannot be continued as an adapter; None if it can."""
    if not folder.is_dir():
        unfinished = run_folder.is_run(folder.parent) and folder.name == run_folder.ADAPTER
        return f"`{name}` has no adapter yet; name one of its checkpoints" if unfinished else f"no folder `{name}`"
    if not (folder / ADAPTER_CONFIG).is_file():
        whole = "; a whole model is named in model.name" if (folder / "config.json").is_file() else ""
        return f"`{name}` has no `{ADAPTER_CONFIG}`, so it holds no adapter{whole}"
    try:
        kind = read_config(folder).get("peft_type")
    except ValueError as error:
        return f"`{name}`: `{ADAPTER_CONFIG}` cannot be read: {error}"
    if kind != "LORA":
        return f"`{name}` is an adapter of type `{kind}`; only LoRA is continued"
    return None if (folder / WEIGHTS).is_file() else f"`{name}` has no `{WEIGHTS}`"


def read_config(folder: Path) -> dict[str, Any]:
    """Return an adapter's own configuration; raise ValueError if it is no JSON object."""
    found = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def check_continued(recipe: Recipe) -> list[Problem]:
    """Return the problems of an adapter on this machine that a recipe continues, those with its own values included."""
    name = adapter_named(recipe.model)
    folder = None if name is None else local_adapter(name)
    if name is None or folder is None:
        return []
    wrong, output = fault_of(folder, name), recipe.output.dir
    if wrong is None and folder.resolve().is_relative_to(Path(output).resolve()):
        wrong = f"`{name}` is inside output.dir, `{output}`, where the new run is written. Choose another output.dir"
    place = ("model", "adapter" if recipe.model.adapter else "name")
    return [Problem(place, wrong)] if wrong else contradictions(recipe.model, read_config(folder))


def contradictions(model: ModelSettings, config: dict[str, Any]) -> list[Problem]:
    """Return a problem for each key of `model` that says something else than the adapter's own configuration."""
    found = []
    given, own = model.lora.model_fields_set, own_lora(model.lora, config)
    for key in (key for key in COMPARED if key in given):
        ours, theirs = getattr(model.lora, key), getattr(own, key)
        if ours not in (theirs, "all-linear") and not (isinstance(ours, list) and set(ours) == set(theirs)):
            message = f"is {ours}, but the adapter `{adapter_named(model)}` has {theirs} and keeps it. Remove the key"
            found.append(Problem(("model", "lora", key), f"{message}, or add --set model.lora={{}}"))
    if model.full_finetuning and not model.adapter:
        found.append(Problem(("model", "name"), "holds a LoRA to continue, but full_finetuning trains every weight"))
    if model.adapter and is_adapter(Path(os.path.expanduser(model.name))):
        found.append(Problem(("model", "name"), "holds an adapter, as model.adapter does; name the base model"))
    elif model.adapter and plain(model.name) != plain(str(config.get(BASE))):
        message = f"`{model.adapter}` was trained on `{config.get(BASE)}`, the recipe puts it on `{model.name}`"
        found.append(Problem(("model", "adapter"), message, "warning"))
    return found


def plain(base: str) -> str:
    """Return a base model's name without what differs between copies of it: folder, owner, case, Unsloth's suffix."""
    name = Path(base).name
    found = STARTER.fullmatch(name)
    return found[1] if found else TWIN.sub("", name.lower())


def own_lora(lora: LoraSettings, config: dict[str, Any]) -> LoraSettings:
    """Return the settings with an adapter's own values where a recipe can express them."""
    targets, alpha = config.get("target_modules"), config.get("lora_alpha")
    own: dict[str, Any] = {"rank": config.get("r", lora.rank)}
    if isinstance(targets, list):
        own["target_modules"] = sorted(targets)
    if isinstance(alpha, int | float) and alpha == int(alpha):
        own["alpha"] = int(alpha)
    return lora.model_copy(update=own)


def following(recipe: Recipe, folder: Path | None = None) -> Recipe:
    """Return the recipe with the base and the shape of the adapter that it continues; unchanged without one.

    Args:
        folder: of the adapter; if left out, only one that is on this machine is read.
    """
    model, name = recipe.model, adapter_named(recipe.model)
    folder = folder or (local_adapter(name) if name else None)
    if name is None or folder is None or fault_of(folder, name):
        return recipe
    config = read_config(folder)
    base = model.name if model.adapter else base_of(config)
    update = {"name": base, "adapter": name, "lora": own_lora(model.lora, config)}
    return recipe.model_copy(update={"model": model.model_copy(update=update)})


def base_of(config: dict[str, Any]) -> str:
    """Return the name of an adapter's base model; a starter that lies on another machine is the one of this machine."""
    base = str(config.get(BASE))
    found = STARTER.fullmatch(Path(base).name)
    return found[1] if found and not Path(base).is_dir() else base
