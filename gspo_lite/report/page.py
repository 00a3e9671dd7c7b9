"""Writes report.html, a self-contained page; report.md; and README.md, the model card.

Owns the order of their parts. Every text of a model passes through `visible` and the template's escaping, and the page
allows no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gspo_lite.errors import UsageError
from gspo_lite.recipe.methods import METHODS
from gspo_lite.report import png, svg, texts
from gspo_lite.report.card import for_programs
from gspo_lite.report.chart import Chart
from gspo_lite.report.curves import charts
from gspo_lite.report.episodes import episode, names_of_tools
from gspo_lite.report.facts import PHASES, WARMED, RunFacts, gains, read_run, table
from gspo_lite.report.verdict import comparison
from gspo_lite.report.visible import SHORT
from gspo_lite.system import run_folder
from gspo_lite.tools.shown import lines_of

HERE = Path(__file__).parent
REPORT, MARKDOWN, CARD, PLOTS = "report.html", "report.md", "README.md", "plots"
MOST_RUNS = 6
EXAMPLES = 3  # problems in report.md


def write_reports(folder: Path) -> Path:
    """Write report.html, report.md with plots, and the model card of a run folder; return the path of report.html."""
    return write_pages(read_run(folder), folder)


def write_pages(run: RunFacts, folder: Path) -> Path:
    """Write the same of a run that was read, to any folder."""
    drawn = charts([run])
    run_folder.write_text(folder / REPORT, page([run], drawn))
    plots = png.write_plots(drawn, folder / PLOTS)
    shown = {"plots": [f"{PLOTS}/{name}" for name in plots], "examples": texts.problems([run])[:EXAMPLES]}
    run_folder.write_text(folder / MARKDOWN, render("report.md.j2", **about([run]), **shown))
    run_folder.write_text(folder / CARD, render("card.md.j2", **about([run]), **shown, **for_programs(run)))
    return folder / REPORT


def write_comparison(folders: Sequence[Path], path: Path) -> Path:
    """Write a page that compares several runs."""
    if len(folders) > MOST_RUNS:
        raise UsageError(f"cannot compare {len(folders)} runs; a page takes at most {MOST_RUNS}")
    runs = [read_run(folder) for folder in folders]
    run_folder.write_text(path, page(runs, charts(runs)))
    return path


def page(runs: Sequence[RunFacts], drawn: Sequence[Chart]) -> str:
    """Return the page of one run or several."""
    script = (HERE / "report.js").read_text(encoding="utf-8")
    sheets = ["report.css", *(["episode.css"] if any(names_of_tools(run.recipe) for run in runs) else [])]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return render(
        "report.html.j2",
        **about(runs),
        charts=[(chart, svg.drawing(chart)) for chart in drawn],
        problems=texts.problems(runs),
        rollouts=texts.sampled(runs),
        differences=differences(runs),
        dashes=svg.DASHES,
        style="".join((HERE / sheet).read_text(encoding="utf-8") for sheet in sheets),
        script=script,
        script_hash=f"sha256-{digest}",
    )


def about(runs: Sequence[RunFacts]) -> dict[str, Any]:
    """Return the values that page, report.md and card share."""
    alone = runs[0] if len(runs) == 1 else None
    phases = (PHASES[0], WARMED, PHASES[1]) if alone else PHASES[1:]
    sides = [(phase if alone else run.name, run.evaluation.get(phase)) for run in runs for phase in phases]
    measured = [(label, figures) for label, figures in sides if figures is not None]
    return {
        "runs": runs,
        "run": runs[0],
        "method": METHODS[runs[0].recipe["objective"]["algorithm"]],
        "alone": alone is not None,
        "title": " and ".join(run.name for run in runs),
        "verdicts": [alone.verdict] if alone else comparison(runs),
        "heads": [label for label, _ in measured],
        "table": table([figures for _, figures in measured]),
        "gains": gains(alone) if alone else [],
        "tools": names_of_tools(runs[0].recipe),
    }


def differences(runs: Sequence[RunFacts]) -> list[tuple[str, list[str]]]:
    """Return the fields that differ between the recipes, with the value in each."""
    flat = [dict(leaves(run.recipe)) for run in runs]
    fields = dict.fromkeys(field for one in flat for field in one if field != "output.dir")
    rows = [(field, [str(one.get(field, "-")) for one in flat]) for field in fields]
    return [row for row in rows if len(set(row[1])) > 1]


def leaves(value: Any, place: str = "") -> list[tuple[str, Any]]:
    """Return every field of a recipe with its dotted name."""
    if not isinstance(value, dict):
        return [(place, value)]
    return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{place}.{key}" if place else str(key))]


def markdown_episode(row: Mapping[str, Any]) -> str:
    """Return the episode of a row, or its completion where it has no turns, as text for a code block."""
    turns = row.get("turns")
    return texts.visible("\n".join(lines_of(turns, SHORT))) if turns else texts.visible(row["completion"])


def indented(text: str) -> str:
    """Return a text as a Markdown code block."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def plain(text: Any) -> str:
    """Return a text on one line, with Markdown and HTML characters escaped."""
    line = " ".join(texts.clean(text).split())
    return "".join(f"\\{mark}" if mark in "\\`*_[]<>|#" else mark for mark in line)


def render(template: str, **values: Any) -> str:
    """Render a template; those for HTML escape everything."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=template.endswith("html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = (texts.visible, texts.clean, texts.turns, texts.shared_system, episode, markdown_episode, indented, plain)
    environment.filters |= {one.__name__: one for one in filters}
    return environment.get_template(template).render(**values)
