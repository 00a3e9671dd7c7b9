"""Where a model's configuration is found without a network: the starter, a folder, a file, the hub's cache, a table.

Owns the places and their order. Must not know what is counted from a configuration.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from gspo_lite.errors import MachineError, UsageError
from gspo_lite.models import smollm2, starter, starter_tools
from gspo_lite.models.gguf_file import config_of, is_gguf
from gspo_lite.models.hub_cache import cached_snapshot

KNOWN = Path(__file__).with_name("known_shapes.json")
# Special tokens, 256 bytes, merges and tags; a test compares them with those that are built.
VOCABULARIES = {starter.NAME: 268, starter_tools.NAME: 353}


def find_config(name: str) -> tuple[dict[str, Any], str]:
    """Return the configuration of a model as in its config.json, and where it was found."""
    if name in VOCABULARIES:
        sizes = {"num_key_value_heads": 2, "head_dim": 32, "vocab_size": VOCABULARIES[name]}
        return {"model_type": "qwen3", "tie_word_embeddings": True, **starter.SIZE, **sizes}, f"the embedded {name}"
    if name == smollm2.NAME:
        name = smollm2.HUB_ID
    if is_gguf(name):
        return config_of(Path(name).expanduser(), name), f"the metadata of {name}"
    folder = Path(name).expanduser()
    if folder.is_dir():
        return read_config(folder / "config.json", name), f"config.json in {name}"
    cached = cached_config(name)
    if cached is not None:
        return read_config(cached, name), "config.json in the Hugging Face cache"
    plain = plain_name(name)
    for known, config in json.loads(KNOWN.read_text(encoding="utf-8")).items():
        if known.lower() == plain:
            return config, f"the table of well-known models ({known}); its config.json is not on this machine"
    raise MachineError(
        f"`model.name` `{name}`: its config.json is not on this machine, and it is not among the well-known models",
        f"fetch it with `hf download {name} config.json`, or name a folder that holds it",
    )


def read_config(path: Path, name: str) -> dict[str, Any]:
    """Read one config.json."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"`model.name` `{name}`: `config.json` cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise UsageError(f"`model.name` `{name}`: `config.json` holds no object")
    return config


def cached_config(name: str) -> Path | None:
    """Path of config.json in the Hugging Face cache."""
    snapshot = cached_snapshot(name)
    path = snapshot / "config.json" if snapshot else None
    return path if path and path.is_file() else None


def plain_name(name: str) -> str:
    """Return a model's name without owner, quantization and training stage, which do not change its sizes."""
    last = name.rpartition("/")[2].lower().removeprefix("meta-")
    return re.sub(r"(-unsloth|-bnb-4bit|-base|-instruct|-it|-pt|-2507|-bf16)+$", "", last)
