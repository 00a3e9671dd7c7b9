"""Keeps secrets out of everything that is written or printed: those of the environment, of options, of a recipe.

Floor 0: the standard library only.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

SECRET_NAME = re.compile(
    r"(^|[^a-z])(token|(api|access|private|secret)_?keys?|secrets?|passwords?|passwd|credentials?)$", re.IGNORECASE
)
# Values that are secrets whatever they are called: keys of Hugging Face, OpenAI and its like, GitHub, AWS, Google.
SECRET_SHAPE = re.compile(r"(?:hf_|sk-|gh[opsu]_|github_pat_|AKIA|AIza)[A-Za-z0-9_-]{12,}")
SHORTEST = 8  # characters; anything shorter would turn up in ordinary text
MASK = "***"
FINGERPRINT = re.compile(re.escape(MASK) + "[0-9a-f]{4}")  # tells two secrets apart, too short to find one by

given: set[str] = set()  # secrets that came as options or in a recipe


def is_secret(name: str) -> bool:
    """Whether an option or variable of this name holds a secret, as HF_TOKEN and hub_token do."""
    return bool(SECRET_NAME.search(name.replace("-", "_")))


def note_options(words: Iterable[str]) -> None:
    """Remember secrets in `name=value` on a command line."""
    for word in words:
        name, separator, value = word.partition("=")
        if separator and is_secret(name) and len(value) >= SHORTEST:
            given.add(value)


def note_values(value: Any, name: str = "") -> None:
    """Remember secrets among the values of a recipe, found by the name of their key or by their own shape."""
    if isinstance(value, dict):
        for key, inner in value.items():
            note_values(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            note_values(inner, name)
    elif isinstance(value, str) and len(value) >= SHORTEST and (is_secret(name) or SECRET_SHAPE.fullmatch(value)):
        given.add(value)


def secrets() -> list[str]:
    """All that must not be shown, longest first, as it is and as Python writes it."""
    found = {value for name, value in os.environ.items() if is_secret(name) and len(value) >= SHORTEST} | given
    return sorted(found | {repr(one)[1:-1] for one in found}, key=len, reverse=True)


def redact(text: str) -> str:
    """The text without secrets."""
    for secret in secrets():
        text = text.replace(secret, MASK)
    return text


def redact_values(value: Any, *, fingerprints: bool = False) -> Any:
    """Plain data without secrets in its texts.

    Args:
        fingerprints: leave four digits of each secret's sha256 behind the mask, by which a change can be told.
    """
    marks = {one: MASK + (hashlib.sha256(one.encode()).hexdigest()[:4] if fingerprints else "") for one in secrets()}

    def masked(text: str) -> str:
        for secret, mark in marks.items():
            text = text.replace(secret, mark)
        return text

    return in_texts(value, masked) if marks else value


def without_fingerprints(value: Any) -> Any:
    """Plain data in which one masked secret is like another."""
    return in_texts(value, lambda text: FINGERPRINT.sub(MASK, text))


def in_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Plain data with every text in it changed, keys left alone."""
    if isinstance(value, dict):
        return {key: in_texts(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [in_texts(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value


class Redacted:
    """A text stream that masks secrets in what passes through; otherwise the stream it stands for."""

    def __init__(self, stream: Any):
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(redact(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def guard_streams() -> None:
    """Mask secrets in all that this process prints from here on, tracebacks and libraries' messages included."""
    if not isinstance(sys.stdout, Redacted):
        sys.stdout, sys.stderr = Redacted(sys.stdout), Redacted(sys.stderr)
