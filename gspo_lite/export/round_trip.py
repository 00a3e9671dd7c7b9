"""Exports a trained run for use elsewhere, and verifies that the export answers as the trained adapter does.

    adapter answers -> write -> reload the export -> it answers the same prompts -> compare

Answers are greedy, so equal models give equal answers. Only final answers are compared, because two valid roundings of
the same weights may choose a different word somewhere in a long completion.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gspo_lite.data.images import COLUMN as IMAGES
from gspo_lite.data.prompts import system_message
from gspo_lite.data.sources import load_problems
from gspo_lite.errors import RunError, UsageError
from gspo_lite.evaluation import outcomes, paid_for, share
from gspo_lite.export.asking import Reference, ask_adapter, ask_written
from gspo_lite.export.commands import MODELFILE, commands_for, explained
from gspo_lite.export.forms import GGUF_BASE, GGUF_FILE, GGUF_FORMS, GGUF_LORA, WRITERS, Options, refuse_unwritable
from gspo_lite.export.modelfile import modelfile
from gspo_lite.load_parts import offline_if_local
from gspo_lite.load_trained import find_trained, recipe_in, run_of
from gspo_lite.models.adapters import is_adapter
from gspo_lite.models.generate import Played
from gspo_lite.recipe.schema import Recipe
from gspo_lite.rewards.contract.judging import decides, judge_of
from gspo_lite.system import run_folder
from gspo_lite.system.figures import share as in_percent
from gspo_lite.system.quiet import quietly
from gspo_lite.system.say import say, warn

RESULT, GENERATION = "export.json", "generation_config.json"
LARGEST_DROP = 0.02  # of the accuracy, as a share of all prompts


@dataclass(frozen=True)
class RoundTrip:
    """An export compared with its adapter, as shares of n held-out prompts.

    Attributes:
        agreement: share with the same final answer, or the same text if there is no answer.
        identical: share with the same completion, token for token.
    """

    n: int
    adapter_accuracy: float | None
    export_accuracy: float | None
    agreement: float
    identical: float

    @property
    def drop(self) -> float:
        """Return the accuracy that the export has lost."""
        return (self.adapter_accuracy or 0.0) - (self.export_accuracy or 0.0)

    def faithful(self, least_agreement: float) -> bool:
        """Return whether the export can replace the adapter."""
        return self.agreement >= least_agreement and self.drop <= LARGEST_DROP + 1e-9


@dataclass(frozen=True)
class Export:
    """An export that was written, and its comparison with the adapter.

    Attributes:
        asked_by: `transformers` or `llama.cpp`, whichever read what was written.
        commands: lines that use the export elsewhere.
        system: message that the model was trained with, which some of these programs must be sent.
    """

    folder: Path
    form: str
    written: str
    round_trip: RoundTrip
    asked_by: str
    commands: list[str]
    system: str | None


@quietly
def export(
    path: Path,
    form: str,
    output: Path | None = None,
    options: Options | None = None,
    overrides: Sequence[str] = (),
    *,
    allow_outside: bool = False,
) -> Export:
    """Write a run's trained model in one of the `FORMS`, reload it and compare it with the adapter.

    Args:
        path: a run folder, finished or not, or one of its checkpoints.
        output: an empty or new folder; `export-FORM` in the run folder if left out, with the name of a checkpoint.
        overrides: of the run's recipe, as after `--set`.
        allow_outside: allow the recipe code outside the run folder and the current one.

    Raises:
        UsageError: nothing is saved at `path`, `output` is in use, or the adapter cannot be written in this form.
        MachineError: something that the form needs is not installed.
        RunError: the export does not answer as the adapter does; it is kept, with its figures.
    """
    options = options or Options()
    run, recipe, adapter = trained_run(path, overrides, allow_outside=allow_outside)
    offline_if_local(recipe)
    problems = load_problems(recipe.data, whole_rows=recipe.environment is not None).held_out
    rows, vision = list(problems)[: options.prompts], IMAGES in problems.column_names
    refuse_unwritable(form, adapter, options, texts=not (vision or recipe.plays))  # before anything slow
    checkpoint = "" if adapter.name == run_folder.ADAPTER else f"-{adapter.name}"
    folder = empty_folder(output or run / f"export-{form}{checkpoint}")
    say(f"adapter  answering {len(rows)} held-out prompts ...")
    reference, system = ask_adapter(recipe, adapter, rows, vision), system_of(run, recipe)
    written = WRITERS[form](recipe, adapter, folder, options)
    leave_beside(form, folder, reference, system, recipe)
    say(f"wrote    {written}")
    say("export   reloaded; answering the same prompts ...")
    found, asked_by = ask_written(form, folder, reference, rows, recipe, options, vision)
    commands = commands_for(form, folder, run.resolve().name, recipe, system)
    figures = compared(reference.played, found, rows, recipe)
    result = Export(folder, form, written, figures, asked_by, commands, system)
    run_folder.write_json(folder / RESULT, as_dict(result, run, options))
    refuse_unfaithful(result, options)
    return result


def trained_run(path: Path, overrides: Sequence[str] = (), *, allow_outside: bool = False) -> tuple[Path, Recipe, Path]:
    """Return the run that a folder is or lies in, its recipe, and the folder with the trained weights."""
    run = run_of(path)
    if run is None:
        needed = f"{run_folder.RECIPE} and {run_folder.ENVIRONMENT}"
        raise UsageError(f"`{path}` is not a run folder or a checkpoint of one; it has no {needed}")
    recipe, weights = find_trained(str(path), recipe_in(run, overrides, allow_outside=allow_outside))
    if weights is None:
        raise UsageError(f"`{path}` holds no trained weights", f"export the run, `{run}`, or one of its checkpoints")
    return run, recipe, weights


def empty_folder(folder: Path) -> Path:
    """Create the folder if needed and return it; raise UsageError if it is not empty."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UsageError(f"`{folder}` is already in use", "name a new folder with --output, or remove this one")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def system_of(run: Path, recipe: Recipe) -> str | None:
    """Return the system message of the training prompts; that of the recipe where they differ or are not known."""
    recorded = run_folder.read_json(run / run_folder.ENVIRONMENT).get(run_folder.SYSTEM_MESSAGE)
    return system_message(recipe.data) if recorded is None else str(recorded) or None


def leave_beside(form: str, folder: Path, reference: Reference, system: str | None, recipe: Recipe) -> None:
    """Write what other programs need beside the weights: the end tokens for vLLM, a Modelfile for Ollama."""
    if is_adapter(folder):
        reference.generation.to_json_file(folder / GENERATION)
    if form not in GGUF_FORMS:
        return
    files = [f"FROM ./{GGUF_BASE}", f"ADAPTER ./{GGUF_LORA}"] if form == "gguf-lora" else [f"FROM ./{GGUF_FILE}"]
    text = modelfile(reference.processing, reference.ends, system, recipe, files)
    if text is None:
        say("note     no Modelfile: Ollama's language cannot express this chat template; llama-server runs it as it is")
    else:
        (folder / MODELFILE).write_text(text, encoding="utf-8")


def compared(reference: Played, found: Played, rows: list[dict[str, Any]], recipe: Recipe) -> RoundTrip:
    """Return the figures of two models' greedy completions to the same prompts."""
    judge = judge_of(recipe)
    judges = [judge] if any(map(decides, recipe.rewards)) else []

    def accuracy(played: Played) -> float | None:
        right = outcomes(judges, rows, played, recipe, played.said)
        return None if right is None else share(right)

    def finals(played: Played) -> list[Any]:
        """Return what an environment paid, where nothing else judges, or the answers."""
        return paid_for(judges, played) or [judge.extracted(one.text) or one.text for one in played.answers]

    agreement = share([old == new for old, new in zip(finals(reference), finals(found), strict=True)])
    identical = share([old.ids == new.ids for old, new in zip(reference.answers, found.answers, strict=True)])
    return RoundTrip(len(rows), accuracy(reference), accuracy(found), agreement, identical)


def refuse_unfaithful(result: Export, options: Options) -> None:
    """Raise RunError if the export does not answer as the adapter does; weights of few bits only cause a warning."""
    found = result.round_trip
    if found.faithful(options.required):
        return
    if options.lossy and options.least_agreement is None:
        hint = "of q4_k_m, q5_k_m, q6_k, q8_0 and f16 each changes less than the one before"
        warn(f"{options.outtype} changes the model: {in_words(found)}", hint)
        return
    raise RunError(
        f"the {result.form} export does not answer as the adapter does: {in_words(found)}; required are "
        f"{options.required:.0%} equal answers and at most {LARGEST_DROP:.0%} less accuracy. `{result.folder}` is kept",
        "use --base trained and a wider --dtype or --outtype; the adapter itself is not affected",
    )


def told(result: Export) -> Iterator[str]:
    """Yield the lines on an export for a reader: what was written, its figures, and how to use it elsewhere."""
    yield result.written
    yield f"{in_words(result.round_trip)}, read by {result.asked_by}"
    yield from explained(result.commands)
    if result.system:
        system = json.dumps(result.system, ensure_ascii=False)
        yield f"\nthe training had the system message {system}; send it to llama-server and vLLM with each chat"


def in_words(found: RoundTrip) -> str:
    """Return the figures of a round trip in one line."""
    accuracy = f"accuracy {in_percent(found.export_accuracy)} (adapter {in_percent(found.adapter_accuracy)})"
    same = f"the same answer to {found.agreement:.1%} of {found.n} prompts"
    return f"{accuracy}, {same}, token for token to {found.identical:.1%}"


def as_dict(result: Export, run: Path, options: Options) -> dict[str, Any]:
    """Return an export as plain values for JSON."""
    found = result.round_trip
    return {
        "run": str(run), "form": result.form, "written": result.written, "options": asdict(options),
        "faithful": found.faithful(options.required), "round_trip": asdict(found),
        "asked_by": result.asked_by, "commands": result.commands, "system": result.system,
    }  # fmt: skip
