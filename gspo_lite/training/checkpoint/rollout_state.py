"""What transformers' checkpoints do not have: the batches of an unfinished rollout, as plain files.

    gspo_state.json        passes done, counters of the guards, the structure of the batches
    rollout.safetensors    their tensors; only if the checkpoint falls inside a rollout

The second process and later ones write gspo_state_1.json, rollout_1.safetensors and so on. Must not know the trainer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from gspo_lite.system.processes import rank

STATE, TENSORS = "gspo_state.json", "rollout.safetensors"
TENSOR = "tensor:"  # prefix of a tensor's name in place of the tensor


def write_state(folder: Path, facts: dict[str, Any], batches: list[dict[str, Any]] | None) -> None:
    """Write facts, which JSON can hold, and the trainer's buffered micro-batches, None between rollouts."""
    tensors: dict[str, torch.Tensor] = {}
    shape = without_tensors(batches, tensors, "")
    if tensors:
        save_file(tensors, own(folder / TENSORS))
    own(folder / STATE).write_text(json.dumps({**facts, "batches": shape}), encoding="utf-8")


def read_state(folder: Path, device: Any) -> tuple[dict[str, Any], list[dict[str, Any]] | None]:
    """Return facts and batches as `write_state` got them; empty and None if the checkpoint has none."""
    state, path = own(folder / STATE), own(folder / TENSORS)
    if not state.is_file():
        return {}, None
    facts = json.loads(state.read_text(encoding="utf-8"))
    tensors = load_file(path, device=str(device)) if path.is_file() else {}
    return facts, with_tensors(facts.pop("batches"), tensors)


def own(path: Path) -> Path:
    """Return the path with this process's rank in its name, except for the first process."""
    return path.with_stem(f"{path.stem}_{rank()}") if rank() else path


def without_tensors(value: Any, tensors: dict[str, torch.Tensor], name: str) -> Any:
    """Return plain data with each tensor moved to `tensors` and replaced by its name."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().clone().contiguous()
        return TENSOR + name
    if isinstance(value, dict):
        return {key: without_tensors(inner, tensors, f"{name}/{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_tensors(inner, tensors, f"{name}/{index}") for index, inner in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} at `{name}` of a rollout cannot be kept in a checkpoint")


def with_tensors(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Return the value that `without_tensors` took apart; tuples come back as lists."""
    if isinstance(value, str) and value.startswith(TENSOR):
        return tensors[value.removeprefix(TENSOR)]
    if isinstance(value, dict):
        return {key: with_tensors(inner, tensors) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_tensors(inner, tensors) for inner in value]
    return value
