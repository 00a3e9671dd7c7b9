"""Loads the adapter that a recipe continues: the folder that PEFT and Unsloth read it from, and the checks after it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gspo_lite.errors import UsageError
from gspo_lite.models.adapters import ADAPTER_CONFIG, BASE, WEIGHTS, adapter_folder, read_config
from gspo_lite.recipe.schema import ModelSettings

NAME_ITS_BASE = f"name the model it was trained on in model.name; its `{ADAPTER_CONFIG}` says which"
MISFITS = ("size mismatch", "arget modules")  # how PEFT words an adapter that its base has no place for


@contextmanager
def staged(settings: ModelSettings, base: str) -> Iterator[Path | None]:
    """Yield a folder with the adapter to continue, as if it had been trained on `base`; None if there is none.

    PEFT and Unsloth take the base, and Unsloth the tokenizer, from the adapter's own folder. The base may lie elsewhere
    by now, and dropout belongs to the training that follows, not to what was learned.
    """
    if settings.adapter is None:
        yield None
        return
    adapter = adapter_folder(settings.adapter)
    with tempfile.TemporaryDirectory(prefix="adapter-") as place:
        folder = Path(place)
        for path in adapter.iterdir():
            if path.is_file() and path.name != ADAPTER_CONFIG:
                (folder / path.name).symlink_to(path.resolve())
        config = {**read_config(adapter), BASE: base, "lora_dropout": settings.lora.dropout}
        (folder / ADAPTER_CONFIG).write_text(json.dumps(config), encoding="utf-8")
        yield folder


def settle(model: Any, settings: ModelSettings, adapter: Path) -> str:
    """Record the base of a loaded adapter as PEFT does for a new one, and return a note; refuse one half loaded.

    PEFT only warns of matrices that the file has and the model does not, or the reverse.
    """
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(str(adapter / WEIGHTS), framework="pt") as file:
        saved = {key for key in file.keys() if "lora_" in key}  # noqa: SIM118, it is no dict
    used = {key for key in get_peft_model_state_dict(model) if "lora_" in key}
    if saved != used:
        counts = (
            f"{len(saved - used)} of its {len(saved)} matrices have no place there, {len(used - saved)} are missing"
        )
        raise misfit(settings, f": {counts}")
    model.peft_config["default"].base_model_name_or_path = model.get_base_model().name_or_path
    return f"continues the adapter `{settings.adapter}`"


def misfit(settings: ModelSettings, why: str = "") -> UsageError:
    """Return the error for an adapter that its base model has no place for."""
    return UsageError(
        f"`model.adapter` `{settings.adapter}` does not fit `model.name` `{settings.name}`{why}", NAME_ITS_BASE
    )


def is_misfit(error: Exception, settings: ModelSettings) -> bool:
    """Return whether loading failed because the adapter has no place in its base model."""
    return settings.adapter is not None and any(words in str(error) for words in MISFITS)
