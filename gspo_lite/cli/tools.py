"""Commands to run before training: list recipes, check them, this machine, memory and ratio noise."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from gspo_lite.cli.shared import (
    JsonOption,
    OutsideOption,
    RecipeArgument,
    SetOption,
    app,
    load,
    printable,
)
from gspo_lite.errors import UsageError
from gspo_lite.system.quiet import quiet_libraries


@app.command()
def check(recipe: RecipeArgument, overrides: SetOption = None, allow_outside: OutsideOption = False) -> None:
    """Report every problem of a recipe, without loading anything."""
    checked = load(recipe, overrides or [], allow_outside=allow_outside)
    chosen, training = checked.recipe, checked.recipe.training
    factor = chosen.generation.sample_factor
    rollout = f"{training.rollout_size} completions" + (f" of {factor * training.rollout_size}" if factor > 1 else "")
    print(
        f"{checked.path}: ok. {chosen.objective.algorithm} on {chosen.model.name}, {training.max_steps} steps; "
        f"{rollout} a rollout, {training.updates_per_rollout:g} optimizer steps on each"
    )


@app.command()
def plan(
    recipe: RecipeArgument,
    vram: Annotated[float, typer.Option(help="Nominal memory of the GPU in GB.", min=1)],
    overrides: SetOption = None,
    allow_outside: OutsideOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict the memory a recipe needs; if it does not fit, advise what to change and exit with code 3."""
    quiet_libraries()  # transformers builds a model of a rare kind
    from gspo_lite.sizing import plan as planning

    chosen = load(recipe, overrides or [], with_data=False, allow_outside=allow_outside).recipe
    found = planning.plan(chosen, planning.room_for(chosen, vram))
    print(json.dumps(planning.as_dict(found), indent=2) if as_json else "\n".join(planning.lines_of(found)))
    if not found.fits:
        raise typer.Exit(3)


@app.command()
def doctor(
    recipe: Annotated[str | None, typer.Argument(help="Recipe to check against.", metavar="[RECIPE]")] = None,
    overrides: SetOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Skip the loss self-test, which imports torch.")] = False,
    allow_outside: OutsideOption = False,
    as_json: JsonOption = False,
) -> None:
    """Report what this machine has and lacks for a run; exit code 3 if a run cannot work."""
    if overrides and recipe is None:
        raise UsageError("--set requires a recipe", "add the name of a recipe")
    chosen = None if recipe is None else load(recipe, overrides or [], allow_outside=allow_outside).recipe
    quiet_libraries()
    from gspo_lite.doctor import as_dict, examine, lines_of, this_machine, works
    from gspo_lite.doctor.selftest import run_self_test

    machine = this_machine()
    checks = examine(machine, chosen, None if quick else lambda: run_self_test(machine, chosen))
    print(json.dumps(as_dict(checks, machine), indent=2) if as_json else "\n".join(lines_of(checks, machine)))
    if not works(checks):
        raise typer.Exit(3)


@app.command()
def probe(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    allow_outside: OutsideOption = False,
) -> None:
    """Measure how noisy the importance ratio is on this machine, and suggest an epsilon."""
    checked = load(recipe, overrides or [], allow_outside=allow_outside)
    quiet_libraries()
    from gspo_lite.lab.probe import lines_of
    from gspo_lite.lab.probe import probe as measure

    found = measure(checked.recipe)
    print(json.dumps(found.as_dict(), indent=2) if as_json else "\n".join(lines_of(found)))


@app.command()
def recipes(
    init: Annotated[str | None, typer.Option(help="Copy this recipe to start from.", metavar="NAME")] = None,
    path: Annotated[Path | None, typer.Argument(help="New file or folder for --init; default NAME.yaml.")] = None,
    theirs: Annotated[
        Path | None,
        typer.Option("--from", help="Translate a file of TRL, open-r1, axolotl or Unsloth.", metavar="FILE"),
    ] = None,
) -> None:
    """List the recipes installed with the package, copy one to start from, or translate another trainer's file.

    `gspo-lite recipes --from THEIRS.yaml > mine.yaml` takes a YAML or JSON file, or a Python script with its GRPOConfig
    (read, not run). The recipe goes to stdout, with `# decide:` where you must; what became of each key to stderr.
    """
    if theirs is not None:
        if init is not None or path is not None:
            raise UsageError("--from takes no other argument", "gspo-lite recipes --from theirs.yaml > mine.yaml")
        from gspo_lite.checked_recipe import recipe_from
        from gspo_lite.recipe.foreign.telling import as_recipe, report

        translation = recipe_from(theirs)
        print(as_recipe(translation), end="")
        print(printable("\n".join(report(translation))), file=sys.stderr)
        return
    if init is not None:
        from gspo_lite.recipe.start import copy_recipe

        copy = copy_recipe(init, path)
        print(copy)
        print(f"next: edit it, then run `gspo-lite check {copy}`", file=sys.stderr)
        return
    if path is not None:
        raise UsageError("a path requires --init NAME", "gspo-lite recipes --init quickstart mine.yaml")
    from gspo_lite.recipe.shipped import headline, shipped_recipes

    for name, path in shipped_recipes().items():
        print(f"{name:18} {headline(path)}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a recipe, for editors."""
    from gspo_lite.checked_recipe import recipe_schema

    print(json.dumps(recipe_schema(), indent=2))
