"""What of a run others may see: figures, curves and the recipe, without folders of this machine and without texts.

Completions, and errors that quote rows, may hold data that is not its user's to publish. Must not know the hub.
"""

from __future__ import annotations

import re
from dataclasses import replace

from gspo_lite.recipe.dump import written
from gspo_lite.report.facts import PHASES, Publication, RunFacts
from gspo_lite.system import run_folder
from gspo_lite.system.redaction import in_texts

ENVIRONMENT = ("gspo_lite", "backend", "engine", "python", "hardware", "versions", "seconds", "peak_memory_gib")
# A text that is a path from the root or a home, and the folders of one inside a text. Both have two parts at least,
# since a word may begin with a slash; only the first may have spaces in them.
PATH = re.compile(r"(?:~[\w.-]*|/[\w.-]+)/(?:[^/\n<>]+/)*([^/\n<>]+)/?")
FOLDERS = re.compile(r"(?<![\w.:/<>\\~)-])(?:~[\w.-]*|/[\w.@+-]+)(?:/[\w.@+-]+)*/(?=[\w.@+*-])")


def shareable(run: RunFacts, published: Publication, *, texts: bool) -> RunFacts:
    """Return the run as others may see it.

    Args:
        texts: include completions, prompts, and why the run was interrupted.
    """
    recipe = in_texts(run.recipe, without_folders)
    if published.base and run.base is None:
        recipe["model"]["name"] = published.base
    name = published.repository.rpartition("/")[2]
    events = [event for event in run.events if texts or event["kind"] != run_folder.STOPPED]
    return replace(
        run,
        name=name,
        recipe=recipe,
        recipe_text=written(recipe, f"The recipe of {published.repository}, with every field."),
        environment={key: run.environment[key] for key in ENVIRONMENT if key in run.environment},
        events=in_texts(events, without_folders),
        samples=run.samples if texts else [],
        rollouts=run.rollouts if texts else [],
        published=published,
    )


def until(run: RunFacts, step: int) -> RunFacts:
    """Return the run as it was after a step that a checkpoint was saved at: later figures are of other weights."""
    after = PHASES[1]
    return replace(
        run,
        evaluation={phase: figures for phase, figures in run.evaluation.items() if phase != after},
        steps=[row for row in run.steps if row["step"] <= step],
        events=[event for event in run.events if event["step"] <= step],
        samples=[row for row in run.samples if row["phase"] != after],
        rollouts=[row for row in run.rollouts if row["step"] <= step],
    )


def without_folders(text: str) -> str:
    """Return a text in which a path that begins at the root or a home is only its last part."""
    path = PATH.fullmatch(text)
    return path[1] if path else FOLDERS.sub("", text)
