"""The command that chats with the result of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from gspo_lite.cli.shared import OutsideOption, SetOption, app, printable
from gspo_lite.system.quiet import quiet_libraries


@app.command()
def chat(
    path: Annotated[Path, typer.Argument(help="A run folder, a checkpoint, an adapter or an export.", metavar="RUN")],
    prompt: Annotated[str | None, typer.Option(help="Answer this question and exit.", metavar="TEXT")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sample answers; greedy if omitted.", min=0.01)] = None,
    history: Annotated[bool, typer.Option("--history", help="Keep the conversation between questions.")] = False,
    system: Annotated[
        str | None,
        typer.Option(help="System message, empty for none; by default as in training.", metavar="TEXT"),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe with the prompt style, if RUN has none.")] = None,
    overrides: SetOption = None,
    allow_outside: OutsideOption = False,
) -> None:
    """Chat with a trained model, prompted as in training; answers appear word by word."""
    quiet_libraries()
    from gspo_lite.lab.chat import open_chat, talk

    open_to = open_chat(
        path, recipe, system, overrides or [], allow_outside=allow_outside, temperature=temperature, remember=history
    )
    if prompt is not None:
        open_to.reply(prompt, show)
        show("\n")
        return
    if sys.stdin.isatty():
        kept = "the conversation is kept, /reset clears it" if history else "each question stands alone, as in training"
        print(f"{path}: {kept}; Ctrl-C stops an answer, /quit exits", file=sys.stderr)
    talk(open_to, questions(), show)


def questions() -> Iterator[str]:
    """Yield the lines typed or piped in."""
    with suppress(ImportError):
        import readline  # noqa: F401, enables arrow keys and history
    while True:
        try:
            yield input("> " if sys.stdin.isatty() else "")
        except EOFError:
            if sys.stdin.isatty():
                show("\n")
            return


def show(text: str) -> None:
    """Print a piece of an answer without terminal escapes."""
    print(printable(text), end="", flush=True)
