"""Finds models in the Hugging Face cache, by its documented layout: the hub's client is slow to import."""

from __future__ import annotations

import os
from pathlib import Path


def cached_snapshot(name: str) -> Path | None:
    """Return the folder with the cached files of a hub model's main revision; None if there is none."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    repository = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{name.replace('/', '--')}"
    try:
        revision = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return repository / "snapshots" / revision
