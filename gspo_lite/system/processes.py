"""The processes of a run: one, or several started by `accelerate launch` or `torchrun`.

The first process writes the run folder, evaluates and prints; decisions that all processes must share go through
`gathered`. Standard library only; accelerate where processes have to meet.
"""

from __future__ import annotations

import os
from typing import Any

from gspo_lite.errors import MachineError


def count() -> int:
    """Return the number of processes in this run."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def rank() -> int:
    """Return the rank of this process, from 0."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def device_index() -> int:
    """Return the index of this process's GPU on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if count() > 1 else 0


def is_main() -> bool:
    """Return whether this is the process that writes, evaluates and prints."""
    return rank() == 0


def wait() -> None:
    """Wait until all processes get here; the trainer's configuration must exist already."""
    if count() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def gathered(value: Any) -> list[Any]:
    """Return the values of all processes, in order of rank."""
    if count() == 1:
        return [value]
    from accelerate.utils import gather_object

    found: list[Any] = gather_object([value])
    return found


def refuse_sharded() -> None:
    """Raise MachineError under FSDP and DeepSpeed ZeRO-3, where each process holds a part of the weights."""
    how = None
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        how = "FSDP"
    elif os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        how = "DeepSpeed ZeRO-3" if os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3" else None
    if how is not None:
        raise MachineError(
            f"{how} splits the weights over processes, but gspo-lite evaluates and saves in the first one, which needs "
            "the whole model",
            "launch with DDP or ZeRO-2, or move to a larger engine: gspo-lite export-config RECIPE --to verl",
        )
