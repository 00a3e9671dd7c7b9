"""Keeps secrets from the environment, options and recipes out of everything that is written or printed."""

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
# Values that are secrets under any name: keys of Hugging Face, OpenAI and similar services, GitHub, AWS, Google.
SECRET_SHAPE = re.compile(r"(?:hf_|sk-|gh[opsu]_|github_pat_|AKIA|AIza)[A-Za-z0-9_-]{12,}")
SHORTEST = 8  # characters; a shorter value would occur in ordinary text
MASK = "***"
FINGERPRINT = re.compile(re.escape(MASK) + "[0-9a-f]{4}")  # enough to distinguish two secrets, too short to recover one

given: set[str] = set()  # secrets from options or a recipe


def is_secret(name: str) -> bool:
    """Return whether an option or variable of this name holds a secret, as HF_TOKEN and hub_token do."""
    return bool(SECRET_NAME.search(name.replace("-", "_")))


def note_options(words: Iterable[str]) -> None:
    """Remember secrets given as `name=value` on a command line."""
    for word in words:
        name, separator, value = word.partition("=")
        if separator and is_secret(name) and len(value) >= SHORTEST:
            given.add(value)


def note_values(value: Any, name: str = "") -> None:
    """Remember secrets among the values of a recipe, recognized by the name of their key or by their shape."""
    if isinstance(value, dict):
        for key, inner in value.items():
            note_values(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            note_values(inner, name)
    elif isinstance(value, str) and len(value) >= SHORTEST and (is_secret(name) or SECRET_SHAPE.fullmatch(value)):
        given.add(value)


def secrets() -> list[str]:
    """Return all known secrets, longest first, verbatim and as Python's repr writes them."""
    found = {value for name, value in os.environ.items() if is_secret(name) and len(value) >= SHORTEST} | given
    return sorted(found | {repr(one)[1:-1] for one in found}, key=len, reverse=True)


def redact(text: str) -> str:
    """Return a text with secrets masked."""
    for secret in secrets():
        text = text.replace(secret, MASK)
    return text


def redact_values(value: Any, *, fingerprints: bool = False) -> Any:
    """Return plain data with secrets masked; `fingerprints` adds four sha256 digits, so that a change can be seen."""
    marks = {one: MASK + (hashlib.sha256(one.encode()).hexdigest()[:4] if fingerprints else "") for one in secrets()}

    def masked(text: str) -> str:
        for secret, mark in marks.items():
            text = text.replace(secret, mark)
        return text

    return in_texts(value, masked) if marks else value


def without_fingerprints(value: Any) -> Any:
    """Return plain data in which all masked secrets look the same."""
    return in_texts(value, lambda text: FINGERPRINT.sub(MASK, text))


def in_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return plain data with `change` applied to every text but the keys."""
    if isinstance(value, dict):
        return {key: in_texts(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [in_texts(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value


class Redacted:
    """A proxy for a text stream that masks secrets in what is written."""

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
    """Mask secrets in everything this process prints from now on, including tracebacks and messages of libraries."""
    if not isinstance(sys.stdout, Redacted):
        sys.stdout, sys.stderr = Redacted(sys.stdout), Redacted(sys.stderr)
