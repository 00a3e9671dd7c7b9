"""Commands about rewards: `gspo-lite rewards ...`."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
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
    rewards_app,
)
from gspo_lite.system.quiet import quiet_libraries


@rewards_app.command("list")
def list_rewards() -> None:
    """List the rewards."""
    from gspo_lite.rewards.contract.registry import registered

    for name, found in registered().items():
        print(f"{name:20} {found.summary}")


@rewards_app.command("show")
def show_reward(name: Annotated[str, typer.Argument(help="Name of a reward.")]) -> None:
    """Show what a reward measures, its options with their ranges, and how to write it in a recipe."""
    from gspo_lite.rewards.contract.options import described_options, recipe_line
    from gspo_lite.rewards.contract.registry import get

    found = get(name)
    known = described_options(found.options)
    options = "".join(f"\n  {option}: {default}" for option, default in known.items())
    print(f"{name}\n\n{found.__doc__}\n\noptions:{options or ' none'}")
    print(f"\nin a recipe:\n  {recipe_line(name, known)}")


@rewards_app.command("test")
def try_rewards(
    recipe: RecipeArgument,
    completions: Annotated[
        Path | None, typer.Option(help="JSONL rows with a `completion`; made up if omitted.")
    ] = None,
    problems: Annotated[int, typer.Option(help="Number of problems to make up completions for.", min=1)] = 3,
    overrides: SetOption = None,
    allow_outside: OutsideOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score completions with every reward of a recipe and show why each gets its score."""
    chosen = load(recipe, overrides or [], allow_outside=allow_outside).recipe
    quiet_libraries()
    from gspo_lite.lab.trials import lines_of_trials, trials

    with redirect_stdout(sys.stderr):  # rewards of TRL's users like to print
        bench, done = trials(chosen, completions, problems)
    if as_json:
        print(json.dumps([record for trial in done for record in trial.records()], indent=2))
    else:
        print(printable("\n".join(lines_of_trials(bench, done))))


@rewards_app.command("preview")
def preview_rewards(
    recipe: RecipeArgument,
    samples: Annotated[int, typer.Option(help="Number of problems; each gets num_generations completions.", min=1)] = 8,
    overrides: SetOption = None,
    allow_outside: OutsideOption = False,
    as_json: JsonOption = False,
) -> None:
    """Sample from the untrained model, show its rewards, and advise what to change before training."""
    chosen = load(recipe, overrides or [], allow_outside=allow_outside).recipe
    quiet_libraries()
    from gspo_lite.lab.preview import lines_of, preview

    with redirect_stdout(sys.stderr):
        found = preview(chosen, samples)
    print(json.dumps(found.as_dict(), indent=2) if as_json else printable("\n".join(lines_of(found))))


@rewards_app.command("stress")
def stress_rewards(
    recipe: RecipeArgument,
    problems: Annotated[int, typer.Option(help="Number of problems to try.", min=1)] = 8,
    overrides: SetOption = None,
    allow_outside: OutsideOption = False,
) -> None:
    """Search for hostile completions that are rewarded like a correct answer; exit code 4 if there are any."""
    chosen = load(recipe, overrides or [], allow_outside=allow_outside).recipe
    quiet_libraries()
    from gspo_lite.lab.trials import lines_of_findings, stressed

    with redirect_stdout(sys.stderr):
        tried = stressed(chosen, problems)
    print(printable("\n".join(lines_of_findings(tried))))
    if tried.findings:
        raise typer.Exit(4)
