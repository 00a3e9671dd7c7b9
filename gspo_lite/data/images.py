"""Images of a problem: checked when the data is loaded, kept as bytes or as a path until they are needed."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

COLUMN = "images"  # what TRL calls it, whatever the source does
MARKER = "<image>"  # with which many data sets say in the question where the image stands
Image = dict[str, Any]  # {"bytes": ..., "path": ...} of which one is None, as the `datasets` library stores it


def images_of(value: Any, folder: Path | None) -> list[Image]:
    """One image or a list of them, each one that can be opened.

    Args:
        value: paths, PIL images, bytes, or dicts with `bytes` or `path` as `datasets` stores them; None for none.
        folder: where relative paths start.

    Raises:
        ValueError: what is wrong with an image.
    """
    if value is None:
        return []
    items = list(value) if isinstance(value, list | tuple) else [value]
    return [one_image(item, folder) for item in items]


def one_image(item: Any, folder: Path | None) -> Image:
    """One image in the form that is stored, once it has been seen to be one."""
    from PIL import Image as Pillow

    if isinstance(item, Pillow.Image):
        buffer = io.BytesIO()
        item.convert("RGB").save(buffer, format="PNG")
        return {"bytes": buffer.getvalue(), "path": None}
    if isinstance(item, dict):
        item = item.get("bytes") or item.get("path")
    if isinstance(item, str):
        path = (folder or Path()) / Path(item).expanduser()
        if not path.is_file():
            raise ValueError(f"there is no image file `{path}`")
        return opened({"bytes": None, "path": str(path)}, path, f"`{path}`")
    if isinstance(item, bytes):
        return opened({"bytes": item, "path": None}, io.BytesIO(item), f"{len(item)} bytes")
    raise ValueError(f"an image is a {type(item).__name__}, not a path, bytes or a PIL image")


def opened(image: Image, source: Any, shown: str) -> Image:
    """The image, if it can be opened."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(source) as picture:
            picture.verify()
    except Exception as error:  # Pillow's readers raise whatever a broken file makes them run into
        raise ValueError(f"{shown} is no image that can be read: {type(error).__name__}") from error
    return image


def fingerprint(images: list[Image]) -> str:
    """What tells problems apart that ask the same about different images."""
    parts = [hashlib.sha256(image["bytes"]).hexdigest() if image["bytes"] else str(image["path"]) for image in images]
    return "|".join(parts)
