"""Commands that train, evaluate and report."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from gspo_lite.cli.shared import JsonOption, OutsideOption, RecipeArgument, SetOption, app, load
from gspo_lite.errors import UsageError
from gspo_lite.system.processes import is_main
from gspo_lite.system.quiet import quiet_libraries


@app.command()
def run(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    output: Annotated[str | None, typer.Option(help="The run folder, instead of output.dir.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Resume even though the recipe has changed.")] = False,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps, instead of training.max_steps.")] = None,
    allow_outside: OutsideOption = False,
) -> None:
    """Train according to a recipe, and evaluate before and after."""
    steps = [] if max_steps is None else [f"training.max_steps={max_steps}"]
    checked = load(recipe, [*(overrides or []), *steps], output=output, allow_outside=allow_outside)
    quiet_libraries()
    from gspo_lite.run import run as train

    command = shlex.join(["gspo-lite", *sys.argv[1:]])
    result = train(checked.recipe, resume=resume, force=force, command=command, own_process=True)
    if is_main():
        print(result)


@app.command("eval")
def evaluate(
    path: Annotated[
        str, typer.Argument(help="A run, a checkpoint, an adapter, a model or a hub id.", metavar="RUN_OR_MODEL")
    ],
    recipe: Annotated[str | None, typer.Option(help="Recipe with the problems; a run folder has its own.")] = None,
    overrides: SetOption = None,
    limit: Annotated[int | None, typer.Option(help="Number of problems to use.", min=1)] = None,
    allow_outside: OutsideOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a run, one of its checkpoints, an adapter or a model on held-out problems."""
    given = None if recipe is None else load(recipe, overrides or [], allow_outside=allow_outside).recipe
    quiet_libraries()
    from gspo_lite.evaluation import evaluate_path
    from gspo_lite.load_trained import recipe_in, run_of
    from gspo_lite.report.summary import lines_of

    run = run_of(Path(path))
    chosen = given or (recipe_in(run, overrides or [], allow_outside=allow_outside) if run else None)
    if overrides and chosen is None:
        raise UsageError("--set requires a recipe", "add --recipe NAME")
    figures = evaluate_path(path, chosen, limit)
    print(json.dumps(figures, indent=2) if as_json else "\n".join(lines_of(figures)))


@app.command()
def report(
    paths: Annotated[list[Path], typer.Argument(help="A run folder, or several to compare.", metavar="RUN...")],
    output: Annotated[Path, typer.Option(help="File for the comparison of several runs.")] = Path("comparison.html"),
) -> None:
    """Write the report of a run again, finished or not, or a page that compares several runs."""
    from gspo_lite.report import write_comparison, write_reports
    from gspo_lite.system import run_folder

    for path in paths:
        if not run_folder.is_run(path):
            needed = f"{run_folder.RECIPE} and {run_folder.ENVIRONMENT}"
            raise UsageError(f"`{path}` is not a run folder, which must contain {needed}")
    print(write_reports(paths[0]) if len(paths) == 1 else write_comparison(paths, output))
