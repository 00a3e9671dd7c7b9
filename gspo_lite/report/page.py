"""Writes report.html, one file that needs nothing else, and README.md, the model card, of a run folder.

Owns what is shown and how much of it. Every text of a model goes through `visible` and the templates' escaping.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gspo_lite import folder as run_folder
from gspo_lite.report.charts import charts
from gspo_lite.report.verdict import verdict

TEMPLATES = Path(__file__).parent
PAIRS = 12  # problems shown before and after
SAMPLES = 24  # training completions shown
LONGEST = 1500  # characters of a text
ROWS = (
    ("Greedy accuracy", "accuracy", "ci95"),
    ("Accuracy at the training temperature", "sampled_accuracy", "sampled_ci95"),
    ("Answer right anywhere in the text", "lenient_accuracy", None),
    ("Format right", "format_rate", None),
)


def write_report(folder: Path) -> Path:
    """Write report.html from what the run folder holds, finished or not, and return its path."""
    facts = gathered(folder)
    samples = run_folder.read_jsonl(folder / run_folder.EVAL_SAMPLES)
    rollouts = run_folder.read_jsonl(folder / run_folder.COMPLETIONS)
    path = folder / "report.html"
    text = render(
        "report.html.j2",
        **facts,
        charts=charts(run_folder.read_jsonl(folder / run_folder.METRICS)),
        pairs=before_and_after(samples),
        samples=spread(rollouts, SAMPLES),
        recipe_text=(folder / run_folder.RECIPE).read_text(encoding="utf-8"),
    )
    run_folder.write_text(path, text)
    return path


def write_model_card(folder: Path) -> Path:
    """Write README.md, the card that goes with the adapter, and return its path."""
    facts = gathered(folder)
    path = folder / "README.md"
    run_folder.write_text(path, render("card.md.j2", **facts))
    return path


def gathered(folder: Path) -> dict[str, Any]:
    """What report and card share."""
    from ruamel.yaml import YAML

    evaluation = read(folder / run_folder.EVAL)
    recipe = YAML(typ="safe", pure=True).load((folder / run_folder.RECIPE).read_text(encoding="utf-8"))
    steps = run_folder.read_jsonl(folder / run_folder.METRICS)
    return {
        "name": folder.name,
        "verdict": verdict(evaluation),
        "table": table(evaluation),
        "gains": gains(evaluation),
        "facts": read(folder / run_folder.ENVIRONMENT),
        "recipe": recipe,
        "steps": steps[-1]["step"] if steps else 0,
        "on_hub": "/" in recipe["model"]["name"] and not Path(recipe["model"]["name"]).exists(),
    }


def read(path: Path) -> dict[str, Any]:
    """A JSON file, or nothing where the run did not get so far."""
    return run_folder.read_json(path) if path.is_file() else {}


def table(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of figures before and after."""
    sides = [evaluation[phase] for phase in ("before", "after") if phase in evaluation]
    rows = []
    for label, key, interval in ROWS:
        cells = [f"{side[key]:.1%}" + (spelled(side[interval]) if interval else "") for side in sides]
        rows.append({"label": label, "cells": cells})
    rows.append({"label": "Tokens in a completion, mean", "cells": [f"{side['mean_tokens']:.1f}" for side in sides]})
    for reward in sides[0]["rewards"] if sides else ():
        values = [side["rewards"].get(reward) for side in sides]
        rows.append({"label": f"Reward {reward}", "cells": ["-" if v is None else f"{v:.3f}" for v in values]})
    return rows


def spelled(interval: list[float]) -> str:
    return f" ({interval[0]:.0%} to {interval[1]:.0%})"


def gains(evaluation: dict[str, Any]) -> str | None:
    """How much of the gain is form and how much is being right: two sentences, or None before the end."""
    if "before" not in evaluation or "after" not in evaluation:
        return None
    change = {
        key: evaluation["after"][key] - evaluation["before"][key] for key in evaluation["before"] if is_share(key)
    }
    return (
        f"Answers that are right wherever they stand: {change['lenient_accuracy'] * 100:+.1f} points. "
        f"Completions in the right format: {change['format_rate'] * 100:+.1f} points."
    )


def is_share(key: str) -> bool:
    return key.endswith(("accuracy", "format_rate"))


def before_and_after(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same problems before and after; those whose verdict changed come first."""
    phases = {phase: {s["index"]: s for s in samples if s["phase"] == phase} for phase in ("before", "after")}
    pairs: list[dict[str, Any]] = [
        {"before": before, "after": phases["after"].get(index)}
        for index, before in phases["before"].items()
    ]  # fmt: skip
    changed = [p for p in pairs if p["after"] and p["before"]["correct"] != p["after"]["correct"]]
    others = [p for p in pairs if p not in changed[:PAIRS]]
    return (changed[: PAIRS * 3 // 4] + others)[:PAIRS]


def spread(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Rows from the beginning to the end, evenly."""
    if len(rows) <= count:
        return rows
    return [rows[i * (len(rows) - 1) // (count - 1)] for i in range(count)]


def visible(text: Any) -> str:
    """A text of a model as it can be shown: no control characters, and not without end."""
    text = clean(text)
    left_out = len(text) - LONGEST
    return text if left_out <= 0 else f"{text[:LONGEST]} ... ({left_out} characters more)"


def clean(text: Any) -> str:
    """A text without control characters and marks that turn its direction."""
    return re.sub(r"[^\n\t -~\u00a0-\u2027\u2030-\U0010ffff]", "\ufffd", str(text))


def last_line(text: str) -> str:
    """The question itself, behind any system message."""
    return text.strip().rsplit("\n\n", 1)[-1]


def render(template: str, **values: Any) -> str:
    """Fill a template; HTML ones escape everything."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith("html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"visible": visible, "clean": clean, "last_line": last_line}
    return environment.get_template(template).render(**values)
