"""The command that talks to the result of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from gspo_lite.cli.shared import app, printable, quiet_libraries


@app.command()
def chat(
    path: Annotated[Path, typer.Argument(help="A run folder, an adapter or an export.", metavar="RUN")],
    prompt: Annotated[str | None, typer.Option(help="Answer this one question and end.", metavar="TEXT")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sample the answers; left out: greedy.", min=0.01)] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Keep what was said; else each question is alone.")
    ] = False,
    recipe: Annotated[str | None, typer.Option(help="Whose prompt style to use, where RUN has no recipe.")] = None,
) -> None:
    """Talk to a trained model: it is asked as in training, and answers word by word."""
    quiet_libraries()
    from gspo_lite.lab.chat import open_chat, talk

    open_to = open_chat(path, recipe, temperature=temperature, remember=history)
    if prompt is not None:
        open_to.reply(prompt, show)
        show("\n")
        return
    if sys.stdin.isatty():
        kept = "what was said is kept, /reset forgets it" if history else "each question stands alone, as in training"
        print(f"{path}: {kept}; Ctrl-C ends an answer, /quit the talk", file=sys.stderr)
    talk(open_to, questions(), show)


def questions() -> Iterator[str]:
    """Lines typed, or piped in, until there are no more."""
    with suppress(ImportError):
        import readline  # noqa: F401, arrow keys and the lines typed before
    while True:
        try:
            yield input("> " if sys.stdin.isatty() else "")
        except EOFError:
            if sys.stdin.isatty():
                show("\n")
            return


def show(text: str) -> None:
    """A piece of the answer, without what could steer a terminal."""
    print(printable(text), end="", flush=True)
