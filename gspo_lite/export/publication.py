"""Gathers what of a run goes to the hub: weights at the root, where `from_pretrained` looks, and what explains them.

    run and weights -> what others may see of the run -> card, report, recipe, figures

A file goes up only if it is named here; checkpoints, optimizer states, logs and code never do. `hub.py` sends them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from gspo_lite.errors import UsageError
from gspo_lite.export.forms import FOR_RESUMING
from gspo_lite.export.shareable import shareable, until
from gspo_lite.load_trained import run_of, step_of, weights_in
from gspo_lite.models.adapters import ADAPTER_CONFIG, BASE, FILES, fault_of, read_config
from gspo_lite.models.names import hub_id, id_problem
from gspo_lite.report.facts import Publication, RunFacts, read_run, reads_images
from gspo_lite.report.page import write_pages
from gspo_lite.system import run_folder

TEXTS = (run_folder.COMPLETIONS, run_folder.EVAL_SAMPLES)


@dataclass(frozen=True)
class Wishes:
    """What the user says about a publication.

    Attributes:
        repository: on the hub, `user/name`.
        base: the hub id of a base model that was loaded from this machine.
        license: of the adapter; if left out, that of its base model.
        languages: of the problems; if left out, those of their hub data sets.
        public: whether a new repository can be seen by all.
        texts: whether completions and prompts go up, too.
    """

    repository: str
    base: str | None = None
    license: str | None = None
    languages: tuple[str, ...] = ()
    public: bool = False
    texts: bool = False


@dataclass(frozen=True)
class Trained:
    """A run to publish, the folder with its weights, and the hub id of its base model if there is one."""

    run: RunFacts
    folder: Path
    weights: Path
    base: str | None


def trained(path: Path, wishes: Wishes) -> Trained:
    """Return what a run folder, or a checkpoint of one, has to publish.

    Raises:
        UsageError: a name is wrong, nothing is saved at `path`, or nobody else has the base model.
    """
    refuse_names(wishes)
    folder = run_of(path)
    run = None if folder is None else read_run(folder)
    weights = None if run is None else weights_in(path, run.recipe["training"]["max_steps"])
    if folder is None or run is None or weights is None:
        raise UsageError(f"`{path}` is not a run folder or a checkpoint of one", "name the folder in output.dir")
    if weights.name != run_folder.ADAPTER:
        run = until(run, step_of(weights))
    run = replace(run, images=reads_images(weights))
    return Trained(run, folder, weights, base_of(run, weights, wishes))


def refuse_names(wishes: Wishes) -> None:
    """Raise UsageError unless repository and base model are named by owner and name."""
    for option, name in (("--to", wishes.repository), ("--base", wishes.base)):
        wrong = name and (id_problem(name) or (None if "/" in name else "its owner is missing"))
        if wrong:
            raise UsageError(f"{option} `{name}` is not the name of a repository: {wrong}", f"{option} user/name")


def base_of(run: RunFacts, weights: Path, wishes: Wishes) -> str | None:
    """Return the hub id of the base model; None for a whole model that began with one of this machine.

    Raises:
        UsageError: an adapter cannot be read, or its base is on this machine only, so nobody could load it.
    """
    if run.whole:
        return wishes.base or run.base
    wrong = fault_of(weights, str(weights))
    if wrong:
        raise UsageError(wrong)
    loaded = str(read_config(weights).get(BASE))  # a quantized twin of the recipe's model, under Unsloth
    base = wishes.base or hub_id(loaded) or run.base
    if base is None:
        name = run.recipe["model"]["name"]
        message = f"the base model `{name}` is on this machine only, so nobody else could load the adapter"
        whole = "write a whole model for `hf upload` by `gspo-lite export RUN --to merged`"
        raise UsageError(message, f"say what it is on the hub, --base user/model, or {whole}")
    return base


def as_said(found: Trained, wishes: Wishes) -> Publication:
    """Return what is known about a publication without the hub."""
    license = {"license": wishes.license} if wishes.license else {}
    return Publication(wishes.repository, found.base, license, wishes.languages)


@contextmanager
def staged(found: Trained, published: Publication, *, texts: bool) -> Iterator[dict[str, Path]]:
    """Write what is made for the hub to a folder for as long as it is needed; yield every file by its name there."""
    run = shareable(found.run, published, texts=texts)
    with tempfile.TemporaryDirectory(prefix="gspo-lite-push-") as place:
        made = Path(place)
        write_pages(run, made)
        run_folder.write_text(made / run_folder.RECIPE, run.recipe_text)
        run_folder.write_json(made / run_folder.EVAL, run.evaluation)
        if not run.whole:
            run_folder.write_json(made / ADAPTER_CONFIG, {**read_config(found.weights), BASE: found.base})
        logs = [found.folder / name for name in TEXTS if texts and (found.folder / name).is_file()]
        files = {path.name: path for path in [*weight_files(found.weights), *logs]}
        yield files | {str(path.relative_to(made)): path for path in sorted(made.rglob("*")) if path.is_file()}


def left_here(found: Trained, files: dict[str, Path]) -> list[str]:
    """Return what of a run folder stays on this machine."""
    gone = {name.partition("/")[0] for name in files} | {run_folder.ADAPTER}
    return sorted(path.name + "/" * path.is_dir() for path in found.folder.iterdir() if path.name not in gone)


def weight_files(weights: Path) -> list[Path]:
    """Return the files that load a model: weights, their configuration and the tokenizer's."""
    names = sorted(path.name for path in weights.iterdir() if path.is_file())
    loading = (name for name in names if any(fnmatch(name, pattern) for pattern in FILES))
    return [weights / name for name in loading if not any(fnmatch(name, pattern) for pattern in FOR_RESUMING)]
