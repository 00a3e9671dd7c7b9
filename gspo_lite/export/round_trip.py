"""Exports a trained run for use elsewhere, and verifies that the export answers as the trained adapter does.

    adapter answers -> write -> reload the export -> it answers the same prompts -> compare

Answers are greedy, so equal models give equal answers. Only final answers are compared, because two valid roundings of
the same weights may choose a different word somewhere in a long completion.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gspo_lite.data.images import COLUMN as IMAGES
from gspo_lite.data.sources import load_problems
from gspo_lite.errors import RunError, UsageError
from gspo_lite.evaluation import asked, outcomes, paid_for, share
from gspo_lite.export import gguf, merge
from gspo_lite.load_parts import offline_if_local, player_outside
from gspo_lite.load_trained import find_trained, recipe_in, run_of
from gspo_lite.models.generate import Played
from gspo_lite.models.load import LoadedModel, load_for_evaluation
from gspo_lite.recipe.schema import Recipe
from gspo_lite.rewards.contract.judging import decides, judge_of
from gspo_lite.system import run_folder
from gspo_lite.system.figures import share as in_percent
from gspo_lite.system.quiet import quietly
from gspo_lite.system.say import say

FORMS = ("adapter", "merged", "gguf")
RESULT, GGUF_FILE = "export.json", "model.gguf"
FOR_RESUMING = ("*.pt", "*.pth", "trainer_state.json", "manifest.json", "gspo_state*.json", "rollout*.safetensors")
LEAST_AGREEMENT = 0.95
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

    def faithful(self, least_agreement: float) -> bool:
        """Return whether the export can replace the adapter."""
        drop = (self.adapter_accuracy or 0.0) - (self.export_accuracy or 0.0)
        return self.agreement >= least_agreement and drop <= LARGEST_DROP + 1e-9


@dataclass(frozen=True)
class Options:
    """Options of an export.

    Attributes:
        base: weights to merge an adapter into: `trained` or `original` (see `export.merge`).
        dtype: type of merged weights.
        outtype: type of weights in GGUF, as llama.cpp's converter names it.
        prompts: number of held-out prompts in the round trip.
        least_agreement: smallest agreement at which the export passes.
    """

    base: str = "trained"
    dtype: str = "auto"
    outtype: str = "f16"
    prompts: int = 200
    least_agreement: float = LEAST_AGREEMENT


@dataclass(frozen=True)
class Export:
    """An export that was written, and its comparison with the adapter."""

    folder: Path
    form: str
    written: str
    round_trip: RoundTrip


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
    """Write a run's trained model as `adapter`, `merged` or `gguf`, reload it and compare it with the adapter.

    Args:
        path: a run folder, finished or not, or one of its checkpoints.
        output: an empty or new folder; `export-FORM` in the run folder if left out, with the name of a checkpoint.
        overrides: of the run's recipe, as after `--set`.
        allow_outside: allow the recipe code outside the run folder and the current one.

    Raises:
        UsageError: nothing is saved at `path`, or `output` is in use.
        MachineError: something that the form needs is not installed.
        RunError: the export does not answer as the adapter does; it is kept, with its figures.
    """
    options = options or Options()
    run, recipe, adapter = trained_run(path, overrides, allow_outside=allow_outside)
    if form == "gguf":
        gguf.find_converter()  # before anything slow
    checkpoint = "" if adapter.name == run_folder.ADAPTER else f"-{adapter.name}"
    folder = empty_folder(output or run / f"export-{form}{checkpoint}")
    offline_if_local(recipe)
    problems = load_problems(recipe.data, whole_rows=recipe.environment is not None).held_out
    rows, vision = list(problems)[: options.prompts], IMAGES in problems.column_names
    say(f"adapter  answering {len(rows)} held-out prompts ...")
    reference = ask(load_for_evaluation(merge.as_trained(recipe.model, adapter), adapter, vision), rows, recipe)
    written = WRITERS[form](recipe, adapter, folder, options)
    say(f"wrote    {written}")
    say("export   reloaded; answering the same prompts ...")
    found = ask(READERS[form](recipe, folder, options, vision), rows, recipe)
    result = Export(folder, form, written, compared(reference, found, rows, recipe))
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


def ask(loaded: LoadedModel, rows: list[dict[str, Any]], recipe: Recipe) -> Played:
    """Return a model's greedy completions to these prompts, or its conversations where the recipe has tools."""
    play = player_outside(recipe, loaded)
    return play(rows, None) if play else asked(loaded.model, loaded.processing_class, recipe, rows, None)


def write_adapter(recipe: Recipe, adapter: Path, folder: Path, options: Options) -> str:
    """Copy the adapter, with its tokenizer and without what a checkpoint has for resuming."""
    shutil.copytree(adapter, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*FOR_RESUMING))
    what = "every weight" if recipe.model.full_finetuning else "the adapter, for PEFT"
    return f"{folder}: {recipe.model.name}, {what}"


def write_merged(recipe: Recipe, adapter: Path, folder: Path, options: Options) -> str:
    """Write a model folder with the adapter merged into the weights."""
    found = merge.merge(recipe.model, adapter, folder, base=options.base, dtype=options.dtype)
    return f"{folder}: {recipe.model.name}, {found}"


def write_gguf(recipe: Recipe, adapter: Path, folder: Path, options: Options) -> str:
    """Write a GGUF file, converted from a merged model, and the tokenizer that Python programs need to read it."""
    converter = gguf.find_converter()
    with tempfile.TemporaryDirectory(prefix=".merged-", dir=folder.parent) as place:
        merged = Path(place)
        dtype = gguf.WIDTHS.get(options.outtype, "auto") if options.dtype == "auto" else options.dtype
        found = merge.merge(recipe.model, adapter, merged, base=options.base, dtype=dtype)
        gguf.convert(converter, merged, folder / GGUF_FILE, options.outtype)
        for file in merged.iterdir():
            if file.suffix in (".json", ".jinja", ".model", ".txt") and "index" not in file.name:
                shutil.copy2(file, folder)
    return f"{folder / GGUF_FILE}: {options.outtype}, from {found}"


def read_adapter(recipe: Recipe, folder: Path, options: Options, vision: bool) -> LoadedModel:
    """Load the written adapter on the base it was trained on."""
    return load_for_evaluation(merge.as_trained(recipe.model, folder), folder, vision)


def read_merged(recipe: Recipe, folder: Path, options: Options, vision: bool) -> LoadedModel:
    """Load the merged model in the type it was written in."""
    dtype = merge.written_dtype(recipe.model) if options.dtype == "auto" else options.dtype
    settings = merge.unquantized(recipe.model).model_copy(update={"name": str(folder), "dtype": dtype})
    return load_for_evaluation(settings, None, vision)


def read_gguf(recipe: Recipe, folder: Path, options: Options, vision: bool) -> LoadedModel:
    """Load the GGUF file, dequantized."""
    settings = merge.unquantized(recipe.model).model_copy(update={"name": str(folder)})
    return load_for_evaluation(settings, None, vision, gguf_file=GGUF_FILE)


WRITERS = {"adapter": write_adapter, "merged": write_merged, "gguf": write_gguf}
READERS = {"adapter": read_adapter, "merged": read_merged, "gguf": read_gguf}


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
    """Raise RunError if the export does not answer as the adapter does."""
    found = result.round_trip
    if found.faithful(options.least_agreement):
        return
    raise RunError(
        f"the {result.form} export does not answer as the adapter does: {in_words(found)}; required are "
        f"{options.least_agreement:.0%} equal answers and at most {LARGEST_DROP:.0%} less accuracy. `{result.folder}` "
        "is kept",
        "use --base trained and a wider --dtype; the adapter itself is not affected",
    )


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
        "faithful": found.faithful(options.least_agreement), "round_trip": asdict(found),
    }  # fmt: skip
