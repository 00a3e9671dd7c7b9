"""Commands about rewards: `gspo-lite rewards ...`."""

from __future__ import annotations

import json
from inspect import getdoc
from pathlib import Path
from typing import Annotated

import typer

from gspo_lite.cli.shared import (
    JsonOption,
    OutsideOption,
    RecipeArgument,
    SetOption,
    load,
    printable,
    quiet_libraries,
    rewards_app,
)


@rewards_app.command("list")
def list_rewards() -> None:
    """List the rewards by name."""
    from gspo_lite.rewards.contract.registry import registered

    for name, found in registered().items():
        summary = (getdoc(found) or "").partition("\n")[0]
        print(f"{name:20} {summary}")


@rewards_app.command("show")
def show_reward(name: Annotated[str, typer.Argument(help="A reward's name.")]) -> None:
    """Show what a reward measures, its options with their ranges, and how it stands in a recipe."""
    from gspo_lite.rewards.contract.options import described_options, recipe_line
    from gspo_lite.rewards.contract.registry import get

    found = get(name)
    options = described_options(found.options)
    lines = "".join(f"\n  {option}: {default}" for option, default in options.items())
    print(f"{name}\n\n{getdoc(found) or ''}\n\noptions:{lines or ' none'}")
    print(f"\nin a recipe:\n  {recipe_line(name, options)}")


@rewards_app.command("test")
def try_rewards(
    recipe: RecipeArgument,
    completions: Annotated[
        Path | None, typer.Option(help="JSONL rows with a `completion`; else some are made up.")
    ] = None,
    problems: Annotated[int, typer.Option(help="Make completions up for the first so many problems.", min=1)] = 3,
    overrides: SetOption = None,
    allow_outside: OutsideOption = False,
    as_json: JsonOption = False,
) -> None:
    """Lay completions before every reward of a recipe and show what each gets, and why."""
    chosen = load(recipe, overrides or [], allow_outside=allow_outside).recipe
    quiet_libraries()
    from gspo_lite.lab.trials import lines_of_trials, trials

    bench, done = trials(chosen, completions, problems)
    if as_json:
        print(json.dumps([record for trial in done for record in trial.records()], indent=2))
    else:
        print(printable("\n".join(lines_of_trials(bench, done))))


@rewards_app.command("preview")
def preview_rewards(
    recipe: RecipeArgument,
    samples: Annotated[int, typer.Option(help="Problems to sample; each gets num_generations completions.", min=1)] = 8,
    overrides: SetOption = None,
    allow_outside: OutsideOption = False,
    as_json: JsonOption = False,
) -> None:
    """Sample from the untrained model, show what its rewards would be, and say what to change before training."""
    chosen = load(recipe, overrides or [], allow_outside=allow_outside).recipe
    quiet_libraries()
    from gspo_lite.lab.preview import lines_of, preview

    found = preview(chosen, samples)
    print(json.dumps(found.as_dict(), indent=2) if as_json else printable("\n".join(lines_of(found))))


@rewards_app.command("stress")
def stress_rewards(
    recipe: RecipeArgument,
    problems: Annotated[int, typer.Option(help="Try the first so many problems.", min=1)] = 8,
    overrides: SetOption = None,
    allow_outside: OutsideOption = False,
) -> None:
    """Look for hostile completions that a recipe's rewards pay like a right answer; exit code 4 where there are any."""
    chosen = load(recipe, overrides or [], allow_outside=allow_outside).recipe
    quiet_libraries()
    from gspo_lite.lab.trials import lines_of_findings, stressed

    found, notes, tried = stressed(chosen, problems)
    print(printable("\n".join(lines_of_findings(found, notes, tried))))
    if found:
        raise typer.Exit(4)
