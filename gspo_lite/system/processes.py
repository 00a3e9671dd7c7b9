"""Which process of a run this is, where `accelerate launch` or `torchrun` started several; alone it is the only one.

The first one owns everything outside the weights: it writes the run folder, evaluates and prints. What all of them must
decide alike goes through `gathered`. Floor 0: the standard library only; accelerate where processes have to meet.
"""

from __future__ import annotations

import os
from typing import Any

from gspo_lite.errors import MachineError

SHARDED = (
    "this launch splits the weights over processes ({how}), and gspo-lite evaluates and saves in the first one, "
    "which needs them whole"
)


def count() -> int:
    """Processes of this run."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def rank() -> int:
    """The number of this one, from 0."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def device_index() -> int:
    """The GPU of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if count() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes, evaluates and prints."""
    return rank() == 0


def wait() -> None:
    """Wait here until all processes have come so far; needs the trainer's configuration to have been made."""
    if count() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def gathered(value: Any) -> list[Any]:
    """This value of every process, in the order of their numbers."""
    if count() == 1:
        return [value]
    from accelerate.utils import gather_object

    found: list[Any] = gather_object([value])
    return found


def refuse_sharded() -> None:
    """Refuse a launch whose processes hold parts of the weights.

    Raises:
        MachineError: under FSDP and DeepSpeed ZeRO-3.
    """
    how = None
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        how = "FSDP"
    elif os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true" and zero_stage() == "3":
        how = "DeepSpeed ZeRO-3"
    if how is not None:
        hint = "launch without it (DDP, or ZeRO-2), or go to a larger engine: gspo-lite export-config RECIPE --to verl"
        raise MachineError(SHARDED.format(how=how), hint)


def zero_stage() -> str:
    """The stage of DeepSpeed's ZeRO that the launcher was told."""
    return os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "")
