"""Whether weights and optimizer are finite, and the states of the random numbers. Must not know the trainer."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch


def all_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Return whether no tensor holds NaN or infinity, with one test for all of them."""
    listed = list(tensors)
    return not listed or bool(torch.isfinite(torch.stack(torch._foreach_norm(listed))).all())


def not_finite(model: torch.nn.Module, optimizer: Any) -> str | None:
    """Return the name of a trained weight or optimizer state that holds NaN or infinity; None without one."""
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not all_finite([parameter.data]):
            return name
    for parameter, state in (getattr(optimizer, "state", {}) or {}).items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.is_floating_point() and not all_finite([value]):
                return f"{key} of {names.get(id(parameter), 'a weight')}"
    return None


def random_states() -> dict[str, Any]:
    """Return the states of the random number generators that transformers keeps in a checkpoint."""
    states = {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.random.get_rng_state()}
    return states | ({"cuda": torch.cuda.random.get_rng_state()} if torch.cuda.is_available() else {})


def restore_random_states(states: dict[str, Any]) -> None:
    """Restore what `random_states` returned."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.random.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.random.set_rng_state(states["cuda"])
