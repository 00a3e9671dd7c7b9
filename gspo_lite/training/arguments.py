"""What a Python user passes to `GSPOTrainer`, in the forms that TRL's trainer takes."""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset

from gspo_lite.errors import UsageError
from gspo_lite.rewards.contract.guarded import GuardedReward


def as_list(rewards: Any) -> list[Any]:
    """One reward or several, as a list."""
    return list(rewards) if isinstance(rewards, list | tuple) else [rewards]


def under_contract(reward: Any) -> Any:
    """The reward held to its contract; a reward model, by name or loaded, is TRL's to call."""
    if isinstance(reward, str | torch.nn.Module | GuardedReward):
        return reward
    name = getattr(reward, "__name__", type(reward).__name__)
    return GuardedReward(reward, name, 1.0, [], marker=getattr(reward, "marker", None))


def as_dataset(rows: Any) -> Any:
    """A data set as TRL wants it, from a list of prompts or of rows; anything else as it is."""
    if not isinstance(rows, list):
        return rows
    if not rows:
        raise UsageError("`train_dataset` is an empty list; it needs at least one prompt")
    return Dataset.from_list([row if isinstance(row, dict) else {"prompt": row} for row in rows])
