"""Keeps secrets out of everything that is written or printed: tokens and keys of the environment, and of options.

Floor 0: the standard library only.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from typing import Any

SECRET_NAME = re.compile(r"(^|[^a-z])(token|api_?key|secret|password|passwd|credentials?)$", re.IGNORECASE)
SHORTEST = 8  # characters; anything shorter would turn up in ordinary text
MASK = "***"

given: set[str] = set()  # secrets that came as options


def is_secret(name: str) -> bool:
    """Whether an option or variable of this name holds a secret, as HF_TOKEN and hub_token do."""
    return bool(SECRET_NAME.search(name.replace("-", "_")))


def note_options(words: Iterable[str]) -> None:
    """Remember secrets in `name=value` on a command line."""
    for word in words:
        name, separator, value = word.partition("=")
        if separator and is_secret(name) and len(value) >= SHORTEST:
            given.add(value)


def secrets() -> list[str]:
    """All that must not be shown, longest first."""
    found = {value for name, value in os.environ.items() if is_secret(name) and len(value) >= SHORTEST}
    return sorted(found | given, key=len, reverse=True)


def redact(text: str) -> str:
    """The text without secrets."""
    for secret in secrets():
        text = text.replace(secret, MASK)
    return text


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
