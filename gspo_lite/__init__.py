"""gspo-lite: RL fine-tuning on one GPU by GSPO and GSPO-token, on top of TRL and Unsloth.

Public names are loaded on first use, so that `import gspo_lite` and the light commands import no torch.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from gspo_lite.system.waiting import spin_briefly

__version__ = "0.1.0"

_HOME = {
    "GSPOConfig": "gspo_lite.training.config",
    "GSPOTrainer": "gspo_lite.training.trainer",
    "GuardSettings": "gspo_lite.recipe.schema",
    "load_recipe": "gspo_lite.checked_recipe",
    "reward": "gspo_lite.rewards.contract.registry",
}

__all__ = ["GSPOConfig", "GSPOTrainer", "GuardSettings", "__version__", "load_recipe", "reward"]

spin_briefly()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gspo_lite' has no attribute {name!r}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")  # by tqdm, in a notebook without ipywidgets
        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
