"""What all commands share: the app, common options, and how a command loads a recipe."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

import gspo_lite
from gspo_lite.system.processes import is_main

app = typer.Typer(
    help="RL fine-tuning on one GPU by GSPO and GSPO-token.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
rewards_app = typer.Typer(help="The reward functions a recipe can use.", no_args_is_help=True)
app.add_typer(rewards_app, name="rewards")

RecipeArgument = Annotated[str, typer.Argument(help="Path of a recipe, or name of a shipped one.", metavar="RECIPE")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Change one field: key.key=value.", metavar="K=V")]
OutsideOption = Annotated[bool, typer.Option("--allow-outside", help="Allow paths outside the recipe's folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Handle the options before the command."""
    if debug:
        os.environ["GSPO_LITE_DEBUG"] = "1"
    if version:
        print(gspo_lite.__version__)
        raise typer.Exit


def load(reference: str, overrides: list[str], **options: Any) -> Any:
    """Load a recipe and print its warnings."""
    from gspo_lite.checked_recipe import load_recipe

    checked = load_recipe(reference, overrides, **options)
    for warning in checked.warnings if is_main() else []:
        print(f"warning: {warning}", file=sys.stderr)
    return checked


def printable(text: str) -> str:
    """Replace characters that could control a terminal."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
