"""Fixtures shared by all tests: one starter for the whole session, no network, a quick recipe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before torch is imported: processes with two threads each stall each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def starter() -> Path:
    """Folder of the starter model, built in the user's cache if it is not there yet."""
    from gspo_lite.models.starter import starter_folder

    return starter_folder()


@pytest.fixture(scope="session")
def starter_tools() -> Path:
    """Folder of the starter with tool roles, built in the user's cache if it is not there yet."""
    from gspo_lite.models.starter_tools import starter_folder

    return starter_folder()


@pytest.fixture
def quick() -> list[str]:
    """Overrides that make quickstart a matter of seconds."""
    return [
        "training.max_steps=4",
        "training.per_device_train_batch_size=8",
        "data.eval.limit=16",
        "data.limit=64",
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, those on Unsloth's trainer, so that no worker is left alone with one at the end."""
    long = {item.path for item in items if item.get_closest_marker("unsloth") or item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)
