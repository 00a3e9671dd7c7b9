"""The command that publishes a trained run on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gspo_lite.cli.shared import app, printable
from gspo_lite.system.quiet import quiet_libraries
from gspo_lite.system.say import say


@app.command()
def push(
    path: Annotated[Path, typer.Argument(help="A run folder or one of its checkpoints.", metavar="RUN")],
    to: Annotated[str, typer.Option(help="Repository on the hub, made if it is not there.", metavar="USER/NAME")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would go up; needs no login.")] = False,
    public: Annotated[bool, typer.Option("--public/--private", help="Who sees a new repository.")] = False,
    texts: Annotated[bool, typer.Option("--with-completions", help="Send completions and prompts, too.")] = False,
    base: Annotated[str | None, typer.Option(help="Hub id of a base model that was loaded from a folder.")] = None,
    license: Annotated[str | None, typer.Option(help="License; by default the base model's.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Language, as `en`; by default the data set's.")] = None,
) -> None:
    """Send a trained adapter to the hub, with card, report, recipe and figures; log in with `hf auth login` first."""
    quiet_libraries()
    from gspo_lite.export import hub, publication

    wishes = publication.Wishes(to, base, license, tuple(language or ()), public, texts)
    found = publication.trained(path, wishes)
    published = publication.as_said(found, wishes) if dry_run else hub.looked_up(found, wishes)
    with publication.staged(found, published, texts=texts) as files:
        if dry_run:
            show(files)
            stays = ", ".join(publication.left_here(found, files))
            say(f"these {len(files)} files would go to {to}, {'public' if public else 'private'} if it is new")
            say(f"stays here: {printable(stays)}")
            say("nothing was sent yet: log in once by `hf auth login`, then leave out --dry-run")
            return
        address, private = hub.upload(files, to, public=public)
    seen = "private" if private else "public"
    say(f"sent     {len(files)} files; the repository is {seen}, its card says how to load it")
    print(address)


def show(files: dict[str, Path]) -> None:
    """Print the files of a publication with their sizes in bytes, and the head of its card, for the hub's search."""
    from gspo_lite.report.page import CARD

    for name, file in files.items():
        print(f"{file.stat().st_size:>12,}  {printable(name)}")
    print(printable(files[CARD].read_text(encoding="utf-8").partition("\n---\n")[0]))
