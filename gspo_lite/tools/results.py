"""What a model is told of a call: its result as text, bounded and without secrets and control characters."""

from __future__ import annotations

from typing import Any

from gspo_lite.system.redaction import redact

CUT = " ... (cut off)"
KEPT = "\n\t"  # control characters that a result may have; others could move the cursor of whoever reads the log
BLOCKS = ("text", "image")  # kinds of content blocks, each with its value under the same key


def result_of(value: Any, longest: int, *, sees_images: bool) -> tuple[Any, bool]:
    """Return what a model is told of a tool's value, and whether it was cut off.

    Content blocks with an image stay blocks for a model that sees images. All else becomes text, as in TRL.

    Raises:
        ValueError: the value has an image, and the model sees none.
    """
    if not is_blocks(value):
        return cut(str(value), longest)
    texts = [cut(str(block["text"]), longest) for block in value if "text" in block]
    if len(texts) == len(value):
        return cut("".join(text for text, _ in texts), longest)
    if not sees_images:
        raise ValueError("the tool returned an image, which this model cannot see")
    told = iter(texts)
    blocks = [{"type": "text", "text": next(told)[0]} if "text" in block else block for block in value]
    return blocks, any(was_cut for _, was_cut in texts)


def is_blocks(value: Any) -> bool:
    """Return whether a value is a list of content blocks, and not a list that a tool happened to return."""
    blocks = value if isinstance(value, list) else []
    return bool(blocks) and all(
        isinstance(one, dict) and one.get("type") in BLOCKS and one["type"] in one for one in blocks
    )


def plain(text: str, longest: int) -> str:
    """Return a text without secrets and control characters, cut off at so many characters."""
    return cut(text, longest)[0]


def cut(text: str, longest: int) -> tuple[str, bool]:
    """Return a text without secrets and control characters, and whether it was cut off at so many characters."""
    text = redact(text)
    shown = "".join(one if one.isprintable() or one in KEPT else " " for one in text[:longest])
    return (shown, False) if len(text) <= longest else (shown + CUT, True)
