"""Makes a trained run a file to use elsewhere, and proves that it still answers as the trained adapter does.

    adapter answers -> write -> reload what was written -> it answers the same prompts -> compare

Every answer is greedy, so two equal models give equal answers; what is compared is the final answer, because in a
long completion two right roundings of the same weights may choose another word somewhere.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gspo_lite.completion.text import Marker, find_answer
from gspo_lite.data.images import COLUMN as IMAGES
from gspo_lite.data.sources import load_problems
from gspo_lite.errors import RunError, UsageError
from gspo_lite.evaluation import answer, share, what_to_evaluate
from gspo_lite.export import gguf, merge
from gspo_lite.load_parts import offline_if_local
from gspo_lite.models.load import LoadedModel, load_for_evaluation
from gspo_lite.recipe.schema import Recipe
from gspo_lite.rewards.math import grade_all
from gspo_lite.run import say
from gspo_lite.system import run_folder

FORMS = ("adapter", "merged", "gguf")
RESULT, GGUF_FILE = "export.json", "model.gguf"
LEAST_AGREEMENT = 0.95
LARGEST_DROP = 0.02  # of the accuracy, as a share of all prompts

Answer = tuple[str, list[int]]  # text and token ids of a greedy completion


@dataclass(frozen=True)
class RoundTrip:
    """An export beside the adapter it came from, as shares of n held-out prompts.

    Attributes:
        agreement: the same final answer; the same text where a completion gives none.
        identical: the same completion, token for token.
    """

    n: int
    adapter_accuracy: float
    export_accuracy: float
    agreement: float
    identical: float

    def faithful(self, least_agreement: float) -> bool:
        """Whether the export may be taken for the adapter."""
        drop = self.adapter_accuracy - self.export_accuracy
        return self.agreement >= least_agreement and drop <= LARGEST_DROP + 1e-9


@dataclass(frozen=True)
class Options:
    """What an export may be told.

    Attributes:
        base: weights that a merged adapter goes into: `trained` or `original` (see `models.merge`).
        dtype: of merged weights.
        outtype: of weights in GGUF, as llama.cpp's converter names it.
        prompts: number of held-out prompts in the round trip.
        least_agreement: below it the export fails.
    """

    base: str = "trained"
    dtype: str = "auto"
    outtype: str = "f16"
    prompts: int = 200
    least_agreement: float = LEAST_AGREEMENT


@dataclass(frozen=True)
class Export:
    """What `gspo-lite export` wrote, and how it compares."""

    folder: Path
    form: str
    written: str
    round_trip: RoundTrip


def export(run: Path, form: str, output: Path | None = None, options: Options | None = None) -> Export:
    """Write a run's trained model in this form, reload it and compare it with the adapter.

    Args:
        form: `adapter`, `merged` or `gguf`.
        output: an empty or new folder; left out: `export-FORM` in the run folder.

    Raises:
        UsageError: `run` holds no trained adapter, or `output` is in use. MachineError: something is missing here.
        RunError: what was written does not answer as the adapter does; it stays, with the figures beside it.
    """
    options = options or Options()
    recipe, adapter = trained_run(run)
    if form == "gguf":
        gguf.find_converter()  # before anything slow
    folder = empty_folder(output or run / f"export-{form}")
    offline_if_local(recipe)
    problems = load_problems(recipe.data).held_out
    rows, sees = list(problems)[: options.prompts], IMAGES in problems.column_names
    say(f"adapter  answering {len(rows)} held-out prompts ...")
    reference = ask(load_for_evaluation(merge.as_trained(recipe.model, adapter), adapter, sees), rows, recipe)
    written = WRITERS[form](recipe, adapter, folder, options)
    say(f"wrote    {written}")
    say("export   reloaded, answering the same prompts ...")
    found = ask(READERS[form](recipe, folder, options, sees), rows, recipe)
    result = Export(folder, form, written, compared(reference, found, rows, recipe.data.marker))
    run_folder.write_json(folder / RESULT, as_dict(result, run, options))
    refuse_unfaithful(result, options)
    return result


def trained_run(run: Path) -> tuple[Recipe, Path]:
    """The recipe of a run folder, and what it trained."""
    if not run_folder.is_run(run):
        raise UsageError(f"`{run}` is no run folder; it has no {run_folder.RECIPE} and {run_folder.ENVIRONMENT}")
    recipe, _ = what_to_evaluate(str(run), None)
    return recipe, run / run_folder.ADAPTER


def empty_folder(folder: Path) -> Path:
    """The folder, made if need be.

    Raises:
        UsageError: where it holds something already.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UsageError(f"`{folder}` is in use already", "name a new folder with --output, or remove this one")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def ask(loaded: LoadedModel, rows: list[dict[str, Any]], recipe: Recipe) -> list[Answer]:
    """Greedy completions of a model to these prompts."""
    return answer(loaded.model, loaded.processing_class, rows, recipe, None)


def write_adapter(recipe: Recipe, adapter: Path, folder: Path, options: Options) -> str:
    """The adapter as it is, with its tokenizer."""
    shutil.copytree(adapter, folder, dirs_exist_ok=True)
    what = "every weight" if recipe.model.full_finetuning else "the adapter, for PEFT"
    return f"{folder}: {recipe.model.name}, {what}"


def write_merged(recipe: Recipe, adapter: Path, folder: Path, options: Options) -> str:
    """One model folder with the adapter in its weights."""
    found = merge.merge(recipe.model, adapter, folder, base=options.base, dtype=options.dtype)
    return f"{folder}: {recipe.model.name}, {found}"


def write_gguf(recipe: Recipe, adapter: Path, folder: Path, options: Options) -> str:
    """One GGUF file, by way of a merged model, and the tokenizer that a Python program reads it with."""
    converter = gguf.find_converter()
    with tempfile.TemporaryDirectory(prefix=".merged-", dir=folder.parent) as place:
        merged = Path(place)
        dtype = gguf.WIDTHS.get(options.outtype, "auto") if options.dtype == "auto" else options.dtype
        found = merge.merge(recipe.model, adapter, merged, base=options.base, dtype=dtype)
        gguf.convert(converter, merged, folder / GGUF_FILE, options.outtype)
        for file in merged.iterdir():
            if file.suffix in (".json", ".jinja", ".model", ".txt") and "index" not in file.name:
                shutil.copy2(file, folder)
    return f"{folder / GGUF_FILE}: {options.outtype}, by way of {found}"


def read_adapter(recipe: Recipe, folder: Path, options: Options, sees: bool) -> LoadedModel:
    """The written adapter on the base it was trained on."""
    return load_for_evaluation(merge.as_trained(recipe.model, folder), folder, sees)


def read_merged(recipe: Recipe, folder: Path, options: Options, sees: bool) -> LoadedModel:
    """The merged model, in the type it was written in."""
    dtype = merge.written_dtype(recipe.model) if options.dtype == "auto" else options.dtype
    settings = merge.unquantized(recipe.model).model_copy(update={"name": str(folder), "dtype": dtype})
    return load_for_evaluation(settings, None, sees)


def read_gguf(recipe: Recipe, folder: Path, options: Options, sees: bool) -> LoadedModel:
    """The GGUF file, its weights written out wide."""
    settings = merge.unquantized(recipe.model).model_copy(update={"name": str(folder)})
    return load_for_evaluation(settings, None, sees, gguf_file=GGUF_FILE)


WRITERS = {"adapter": write_adapter, "merged": write_merged, "gguf": write_gguf}
READERS = {"adapter": read_adapter, "merged": read_merged, "gguf": read_gguf}


def compared(reference: Sequence[Answer], found: Sequence[Answer], rows: Sequence[Any], marker: Marker) -> RoundTrip:
    """The figures of two models' greedy completions to the same prompts."""
    golds = [row["answer"] for row in rows]

    def final(text: str) -> str:
        return find_answer(text, marker) or text

    pairs = list(zip(reference, found, strict=True))
    return RoundTrip(
        n=len(rows),
        adapter_accuracy=share(grade_all([text for text, _ in reference], golds, marker=marker)),
        export_accuracy=share(grade_all([text for text, _ in found], golds, marker=marker)),
        agreement=share([final(old) == final(new) for (old, _), (new, _) in pairs]),
        identical=share([old == new for (_, old), (_, new) in pairs]),
    )


def refuse_unfaithful(result: Export, options: Options) -> None:
    """Raise where the export does not answer as the adapter does."""
    found = result.round_trip
    if found.faithful(options.least_agreement):
        return
    raise RunError(
        f"the {result.form} export does not answer as the adapter does: {in_words(found)}; wanted are an agreement of "
        f"{options.least_agreement:.0%} and at most {LARGEST_DROP:.0%} less accuracy. `{result.folder}` is kept",
        "use --base trained and a wider --dtype; the adapter itself is not in doubt",
    )


def in_words(found: RoundTrip) -> str:
    """The figures of a round trip in one line."""
    return (
        f"accuracy {found.export_accuracy:.1%} (adapter {found.adapter_accuracy:.1%}), the same answer to "
        f"{found.agreement:.1%} of {found.n} prompts, token for token to {found.identical:.1%}"
    )


def as_dict(result: Export, run: Path, options: Options) -> dict[str, Any]:
    """An export as JSON."""
    found = result.round_trip
    return {
        "run": str(run), "form": result.form, "written": result.written, "options": asdict(options),
        "faithful": found.faithful(options.least_agreement), "round_trip": asdict(found),
    }  # fmt: skip
