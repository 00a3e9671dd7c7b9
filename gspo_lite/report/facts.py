"""The facts in a run folder, of a finished run or not; missing files read as empty.

Owns reading them and the state of a run in words. Must not know how anything is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gspo_lite.models.names import hub_id
from gspo_lite.report.verdict import verdict, watched
from gspo_lite.system import run_folder
from gspo_lite.system.figures import measured, number

FigureRow = tuple[str, str, str | None]  # label, key in eval.json, and key of its interval
FORM = "format_rate"  # None where the recipe has no form
ROWS: tuple[FigureRow, ...] = (
    ("Greedy accuracy", "accuracy", "ci95"),
    ("Accuracy at the training temperature", "sampled_accuracy", "sampled_ci95"),
    ("Correct answer anywhere in the text", "lenient_accuracy", None),
    ("Correct format", FORM, None),
)
CONVERSATIONS = {"Turns of the model, mean": "mean_turns", "Calls of tools, mean": "calls_per_episode"}
PHASES = ("before", "after")
WARMED = "warmed"  # between them, if a supervised warm-up preceded RL


@dataclass(frozen=True)
class Publication:
    """What is known of a run only where it is published.

    Attributes:
        repository: on the hub, `user/name`.
        base: the hub id of the base model with which the weights are loaded, if there is one.
        license: keys of a model card: `license`, with `license_name` and `license_link` if it is no common one.
        languages: of the problems, as ISO 639 codes.
    """

    repository: str
    base: str | None = None
    license: dict[str, Any] = field(default_factory=dict)
    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunFacts:
    """A run as recorded in its folder.

    Attributes:
        evaluation: eval.json. environment: environment.json. steps: metrics.jsonl. events: events.jsonl.
        samples: held-out completions. rollouts: sampled training completions.
        images: whether the model reads images. published: where, if what is written is for others to see.
    """

    name: str
    recipe: dict[str, Any]
    recipe_text: str
    evaluation: dict[str, Any]
    environment: dict[str, Any]
    steps: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    rollouts: list[dict[str, Any]] = field(default_factory=list)
    images: bool = False
    published: Publication | None = None

    @property
    def last_step(self) -> int:
        """The last optimizer step in the log."""
        return self.steps[-1]["step"] if self.steps else 0

    def step_of(self, phase: str) -> int:
        """Return the step whose weights a phase measured: the last after training, unless the best was kept."""
        return 0 if phase == PHASES[0] else int(self.evaluation[phase].get("step", self.last_step))

    @property
    def verdict(self) -> str:
        """The outcome of the run in one sentence."""
        return verdict(self.evaluation)

    @property
    def state(self) -> str:
        """The progress of the run in one sentence."""
        done = f"{self.last_step} of {self.recipe['training']['max_steps']} steps"
        if "after" in self.evaluation:
            return " ".join([f"Finished: {done}.", *watched(self.steps, self.evaluation, self.events)])
        if self.stops and self.stops[-1]["step"] >= self.last_step:
            return f"Stopped after {done}: {self.stops[-1]['text']}."
        return f"Not finished: {done} are logged; the run is still going or was killed."

    @property
    def warnings(self) -> list[dict[str, Any]]:
        """What the guards said."""
        return [event for event in self.events if event["kind"] != run_folder.STOPPED]

    @property
    def stops(self) -> list[dict[str, Any]]:
        """The ends before the last step, such as Ctrl-C, also of a run that was resumed after them."""
        return [event for event in self.events if event["kind"] == run_folder.STOPPED]

    @property
    def whole(self) -> bool:
        """Whether every weight was trained, so that there is a whole model instead of an adapter."""
        return bool(self.recipe["model"].get("full_finetuning"))

    @property
    def base(self) -> str | None:
        """The hub id of the base model; None if it is only on this machine."""
        return self.published.base if self.published else hub_id(self.recipe["model"]["name"])


def read_run(folder: Path) -> RunFacts:
    """Read a run folder, complete or not."""
    from ruamel.yaml import YAML

    text = (folder / run_folder.RECIPE).read_text(encoding="utf-8")
    names = (run_folder.METRICS, run_folder.EVENTS, run_folder.EVAL_SAMPLES, run_folder.COMPLETIONS)
    steps, events, samples, rollouts = (run_folder.read_jsonl(folder / name) for name in names)
    evaluation, environment = (read(folder / name) for name in (run_folder.EVAL, run_folder.ENVIRONMENT))
    recipe = YAML(typ="safe", pure=True).load(text)
    images = reads_images(folder / run_folder.ADAPTER)
    return RunFacts(
        folder.resolve().name, recipe, text, evaluation, environment, steps, events, samples, rollouts, images
    )


def reads_images(weights: Path) -> bool:
    """Return whether saved weights are those of a model that reads images."""
    return any((weights / name).is_file() for name in ("preprocessor_config.json", "processor_config.json"))


def read(path: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one if the run did not get that far."""
    return run_folder.read_json(path) if path.is_file() else {}


def table(columns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of figures with a cell for each evaluation, `-` for a missing figure."""
    shown = having_form(ROWS, columns)
    rows = [{"label": label, "cells": [measured(one, key, ends) for one in columns]} for label, key, ends in shown]
    lengths = [number(one.get("mean_tokens"), 1, "-") for one in columns]
    rows.append({"label": "Tokens in a completion, mean", "cells": lengths})
    for label, key in CONVERSATIONS.items():  # where the recipe has tools
        if any(key in one for one in columns):
            rows.append({"label": label, "cells": [number(one.get(key), 1, "-") for one in columns]})
    for name in dict.fromkeys(name for one in columns for name in one["rewards"]):
        cells = [number(one["rewards"].get(name), 3, "-") for one in columns]
        rows.append({"label": f"Reward {name}", "cells": cells})
    return rows if columns else []


def having_form(rows: Sequence[FigureRow], evaluations: Sequence[dict[str, Any]]) -> list[FigureRow]:
    """Return rows of figures, without the share in the right format where the recipe has no form."""
    return [row for row in rows if row[1] != FORM or any(one[FORM] is not None for one in evaluations)]


def gains(run: RunFacts) -> list[str]:
    """Return sentences that split the gain in accuracy into correctness and format; none for an unfinished run."""
    if any(run.evaluation.get(phase, {}).get("accuracy") is None for phase in PHASES):
        return []
    before, after = (run.evaluation[phase] for phase in PHASES)
    strict, anywhere = ((after[key] - before[key]) * 100 for key in ("accuracy", "lenient_accuracy"))
    lines = [f"Correct answers anywhere in the text: {anywhere:+.1f} points. This is the gain in correctness."]
    if after[FORM] is not None:
        form = (after[FORM] - before[FORM]) * 100
        lines.append(
            f"Completions in the correct format: {form:+.1f} points. Format alone explains {strict - anywhere:+.1f} of "
            f"the {strict:+.1f} points of greedy accuracy."
        )
    if WARMED in run.evaluation:
        warmed = (run.evaluation[WARMED]["accuracy"] - before["accuracy"]) * 100
        lines.append(f"The supervised warm-up explains {warmed:+.1f} of these points, RL {strict - warmed:+.1f}.")
    counts = changes(run.samples)
    if counts["right"] or counts["wrong"]:
        lines.append(f"Problem by problem: {counts['right']} became right, {counts['wrong']} became wrong.")
    return lines


def changes(samples: list[dict[str, Any]]) -> dict[str, int]:
    """Count the held-out problems that became right and those that became wrong."""
    before, after = ({s["index"]: s["correct"] is True for s in samples if s["phase"] == phase} for phase in PHASES)
    both = before.keys() & after.keys()
    return {
        "right": sum(after[index] and not before[index] for index in both),
        "wrong": sum(before[index] and not after[index] for index in both),
    }
