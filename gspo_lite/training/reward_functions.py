"""Holds the reward functions that a Python user passes to `GSPOTrainer` to their contract."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import count
from typing import Any

import torch

from gspo_lite.errors import UsageError
from gspo_lite.rewards.contract.custom import needed_columns, refuse_impossible
from gspo_lite.rewards.contract.guarded import GuardedReward
from gspo_lite.rewards.contract.registry import check_columns
from gspo_lite.rewards.contract.signature import ENVIRONMENTS, name_of


def as_list(rewards: Any) -> list[Any]:
    """Return one reward, several or none as a list."""
    if rewards is None:
        return []
    return list(rewards) if isinstance(rewards, list | tuple) else [rewards]


def under_contract(rewards: Sequence[Any], columns: Sequence[str] | None, *, environments: bool = False) -> list[Any]:
    """Return the rewards held to their contract; leave a reward model, by name or loaded, to TRL.

    Args:
        columns: of the training data; None if they are not known.
        environments: whether the trainer passes environments.

    Raises:
        UsageError: a reward cannot work, or requires a column that the data does not have.
    """
    names: list[str] = []
    held: list[Any] = []
    for reward in rewards:
        if isinstance(reward, str | torch.nn.Module | GuardedReward):
            held.append(reward)
            continue
        refuse_unmade(reward)
        name = unused(name_of(reward), names)
        names.append(name)
        held.append(GuardedReward(reward, name, 1.0, needed_columns(reward), layout=getattr(reward, "layout", None)))
    if columns is not None:
        there = [*columns, *([ENVIRONMENTS] if environments else [])]
        check_columns([one for one in held if isinstance(one, GuardedReward)], there)
    return held


def refuse_unmade(reward: Any) -> None:
    """Refuse what is not a reward but makes one, and what can never work as one."""
    name = name_of(reward)
    if not callable(reward):
        raise UsageError(f"reward `{name}` is not a function", "give a function, a reward model or its name")
    if inspect.isclass(reward):
        raise UsageError(f"reward `{name}` is a class", f"give an instance: `{name}(...)`")
    refuse_impossible(reward, name)


def unused(name: str, names: Sequence[str]) -> str:
    """Return the name, numbered if it is taken, as of the second `functools.partial` of one function."""
    numbered = (f"{name}_{number}" for number in count(2))
    return name if name not in names else next(one for one in numbered if one not in names)
