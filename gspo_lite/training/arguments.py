"""Converts what a Python user passes to `GSPOTrainer` into what TRL's trainer takes."""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset

from gspo_lite.errors import UsageError
from gspo_lite.rewards.contract.guarded import GuardedReward


def as_list(rewards: Any) -> list[Any]:
    """Return one reward or several as a list."""
    return list(rewards) if isinstance(rewards, list | tuple) else [rewards]


def under_contract(reward: Any) -> Any:
    """Return the reward held to its contract; leave a reward model, by name or loaded, to TRL."""
    if isinstance(reward, str | torch.nn.Module | GuardedReward):
        return reward
    name = getattr(reward, "__name__", type(reward).__name__)
    return GuardedReward(reward, name, 1.0, [], layout=getattr(reward, "layout", None))


def as_dataset(rows: Any) -> Any:
    """Return a list of prompts or of rows as a data set; anything else unchanged."""
    if not isinstance(rows, list):
        return rows
    if not rows:
        raise UsageError("`train_dataset` is an empty list; it needs at least one prompt")
    return Dataset.from_list([row if isinstance(row, dict) else {"prompt": row} for row in rows])
