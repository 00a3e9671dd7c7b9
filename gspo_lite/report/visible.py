"""What a page shows of one text: cleaned, cut, shaded by its advantage. Must not know what the text is part of."""

from __future__ import annotations

import math
import re
from typing import Any

LONGEST = 1500  # characters of a text
SHORT = 200  # characters of a value that a reward logged
SHADES = 3  # of each color, for advantages


def visible(text: Any, longest: int = LONGEST) -> str:
    """Return a text cleaned and cut to so many characters."""
    text = clean(text)
    left_out = len(text) - longest
    return text if left_out <= 0 else f"{text[:longest]} ... ({left_out} characters more)"


def clean(text: Any) -> str:
    """Replace control characters and direction marks in a text, keeping its length."""
    return re.sub(r"[^\n\t -~\u00a0-\u2027\u2030-\u2065\u2070-\ud7ff\ue000-\U0010ffff]", "\ufffd", str(text))


def shade_of(advantage: float, most: float) -> str:
    """Return the shade of an advantage, `p3` to `p1` above 0 and `n1` to `n3` below, by the largest one; none for 0."""
    depth = math.ceil(abs(advantage) / most * SHADES) if most else 0
    return f"{'p' if advantage > 0 else 'n'}{depth}" if depth else ""
