"""Names a problem by a short key, which a run writes beside each completion so that its row can be found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DIGITS = 16  # 64 bits: no two rows of one data set share them


def key_of(problem: Mapping[str, Any]) -> str:
    """Return the key of a problem: a digest of its prompt and its columns; an image counts only as there or not."""
    text = json.dumps(dict(problem), sort_keys=True, default=lambda value: type(value).__name__)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
