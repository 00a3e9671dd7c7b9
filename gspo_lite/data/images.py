"""Reads the images of a problem: checked when the data is loaded, kept as bytes or a path until they are needed."""

from __future__ import annotations

import base64
import hashlib
import io
import os.path
from pathlib import Path
from typing import Any

from gspo_lite.data.local import path_of

COLUMN = "images"  # TRL's name, whatever the source calls it
MARKER = "<image>"  # the place of the image in the question, in many data sets
Image = dict[str, Any]  # {"bytes": ..., "path": ...}, one of them None, as the `datasets` library stores it


def images_of(value: Any, folder: Path | None) -> list[Image]:
    """Return the images of a row; raise ValueError if one cannot be opened.

    Args:
        value: one or a list of paths, data URLs, PIL images, bytes, or dicts with `bytes` or `path`; None for no image.
        folder: folder to which paths are relative.
    """
    if value is None:
        return []
    items = list(value) if isinstance(value, list | tuple) else [value]
    return [one_image(item, folder) for item in items]


def one_image(item: Any, folder: Path | None) -> Image:
    """Return an image in its stored form, after opening it."""
    from PIL import Image as Pillow

    if isinstance(item, Pillow.Image):
        buffer = io.BytesIO()
        item.convert("RGB").save(buffer, format="PNG")
        return {"bytes": buffer.getvalue(), "path": None}
    if isinstance(item, dict):
        item = item.get("bytes") or item.get("path")
    if isinstance(item, str) and item.startswith("data:"):
        item = base64.b64decode(item.partition(",")[2])
    if isinstance(item, str) and "://" in item:
        raise ValueError(f"the image `{item[:80]}` is an address; download it and name the file")
    if isinstance(item, str):
        path = (folder or Path()) / path_of(item)
        if not os.path.isfile(path):
            raise ValueError(f"there is no image file `{path}`")
        return opened({"bytes": None, "path": str(path)}, path, f"`{path}`")
    if isinstance(item, bytes):
        return opened({"bytes": item, "path": None}, io.BytesIO(item), f"{len(item)} bytes")
    raise ValueError(f"an image is a {type(item).__name__}, not a path, bytes or a PIL image")


def opened(image: Image, source: Any, shown: str) -> Image:
    """Return the image; raise ValueError if it cannot be opened."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(source) as picture:
            picture.verify()
    except Exception as error:  # on a broken file Pillow's readers may raise anything
        raise ValueError(f"{shown} cannot be read as an image: {type(error).__name__}") from error
    return image


def fingerprint(images: list[Image]) -> str:
    """Return a text that distinguishes problems which ask the same question about different images."""
    parts = [hashlib.sha256(image["bytes"]).hexdigest() if image["bytes"] else str(image["path"]) for image in images]
    return "|".join(parts)
