"""Commands to run before a training: what there is, whether a recipe can work here, and what it would take."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from gspo_lite.cli.shared import JsonOption, OutsideOption, RecipeArgument, SetOption, app, load, quiet_libraries
from gspo_lite.errors import UsageError


@app.command()
def check(recipe: RecipeArgument, overrides: SetOption = None, allow_outside: OutsideOption = False) -> None:
    """Say everything that is wrong with a recipe, without loading anything."""
    checked = load(recipe, overrides or [], allow_outside=allow_outside)
    chosen = checked.recipe
    training = chosen.training
    print(
        f"{checked.path}: ok. {chosen.objective.algorithm} on {chosen.model.name}, {training.max_steps} steps; "
        f"{training.rollout_size} completions a rollout, {training.updates_per_rollout:g} optimizer steps on each"
    )


@app.command()
def plan(
    recipe: RecipeArgument,
    vram: Annotated[float, typer.Option(help="Memory of the card in GB, as it is sold.", min=1)],
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the memory a recipe takes, and say what to change where it does not fit; exit code 3 then."""
    quiet_libraries()  # a model of a rare kind is built by transformers
    from gspo_lite.sizing import plan as planning

    chosen = load(recipe, overrides or []).recipe
    found = planning.plan(chosen, planning.room_for(chosen, vram))
    print(json.dumps(planning.as_dict(found), indent=2) if as_json else "\n".join(planning.lines_of(found)))
    if not found.fits:
        raise typer.Exit(3)


@app.command()
def doctor(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe to check this machine for.", metavar="[RECIPE]")
    ] = None,
    overrides: SetOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the loss self-test, which imports torch.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what this machine has and lacks for a run; exit code 3 where a run could not work."""
    if overrides and recipe is None:
        raise UsageError("--set changes a recipe, and none is named", "add the recipe's name")
    chosen = load(recipe, overrides or []).recipe if recipe is not None else None
    quiet_libraries()
    from gspo_lite import doctor as ward
    from gspo_lite.doctor.selftest import run_self_test

    machine = ward.this_machine()
    checks = ward.examine(machine, chosen, None if quick else lambda: run_self_test(machine, chosen))
    print(json.dumps(ward.as_dict(checks, machine), indent=2) if as_json else "\n".join(ward.lines_of(checks, machine)))
    if not ward.works(checks):
        raise typer.Exit(3)


@app.command()
def probe(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    allow_outside: OutsideOption = False,
) -> None:
    """Measure how noisy the ratios of a recipe are on this machine, and which epsilon makes sense."""
    checked = load(recipe, overrides or [], allow_outside=allow_outside)
    quiet_libraries()
    from gspo_lite.lab.probe import lines_of
    from gspo_lite.lab.probe import probe as measure

    found = measure(checked.recipe)
    print(json.dumps(found.as_dict(), indent=2) if as_json else "\n".join(lines_of(found)))


@app.command()
def recipes(
    init: Annotated[str | None, typer.Option(help="Copy this one to start from.", metavar="NAME")] = None,
    path: Annotated[
        Path | None, typer.Argument(help="With --init: the new file or its folder; else NAME.yaml here.")
    ] = None,
) -> None:
    """List the recipes that are installed with the package, or copy one with its comments to start from."""
    if init is not None:
        from gspo_lite.recipe.start import copy_recipe

        copy = copy_recipe(init, path)
        print(copy)
        print(f"next: change what you like in it, then `gspo-lite check {copy}`", file=sys.stderr)
        return
    if path is not None:
        raise UsageError("a path goes with --init NAME", "gspo-lite recipes --init quickstart mine.yaml")
    from gspo_lite.recipe.shipped import headline, shipped_recipes

    for name, path in shipped_recipes().items():
        print(f"{name:18} {headline(path)}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a recipe, for editors."""
    from gspo_lite.recipe.schema import Recipe

    print(json.dumps(Recipe.model_json_schema(), indent=2))
