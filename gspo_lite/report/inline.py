"""Shows a finished run inside a notebook: figures, curves and the whole report, in HTML that needs no other file.

The report has a frame of its own, so that its styles stay inside, and a model's text can reach nothing outside it.
GitHub, and a notebook that its reader has not trusted, leave frames out; figures and curves are still there.
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from gspo_lite.report.page import PLOTS, REPORT
from gspo_lite.report.png import NAMES
from gspo_lite.report.summary import outcome
from gspo_lite.system.progress import FONT

HEIGHT = 700  # of the frame, in pixels


def inline(folder: Path) -> str:
    """Return the HTML of a run whose report is written; an empty text if the folder has no report."""
    page = folder / REPORT
    if not page.is_file():
        return ""
    figures = escape("\n".join(outcome(folder)))
    return f'<pre style="margin: 1em 0; {FONT}">{figures}</pre>{picture(folder / PLOTS / NAMES[0])}{frame(page)}'


def picture(path: Path) -> str:
    """Return a PNG as an image; an empty text if nothing was drawn."""
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="Curves of the run" style="max-width: 100%" src="data:image/png;base64,{data}">'


def frame(page: Path) -> str:
    """Return a page in a frame that can be folded away."""
    text = escape(page.read_text(encoding="utf-8"))
    style = f"width: 100%; height: {HEIGHT}px; border: 1px solid #8888; margin-top: 4px"
    return (
        f"<details open><summary>The whole report, also in <code>{escape(str(page))}</code></summary>"
        f'<iframe title="Report of the run" sandbox="allow-scripts" style="{style}" srcdoc="{text}"></iframe></details>'
    )
