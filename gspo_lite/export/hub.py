"""Asks the hub about a publication and sends it. Nothing else writes to the hub; its client finds the user's login."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from gspo_lite.errors import MachineError, UsageError, first_line
from gspo_lite.export.publication import Trained, Wishes, as_said
from gspo_lite.report.card import hub_datasets
from gspo_lite.report.facts import Publication

LICENSE = ("license", "license_name", "license_link")  # of a base model's card, for that of its adapter


def looked_up(found: Trained, wishes: Wishes) -> Publication:
    """Return what the user says about a publication, and for the rest what the hub knows of base model and data.

    Raises:
        MachineError: there is no login, or the hub cannot be reached.
        UsageError: the base model is not on the hub, or not to be seen.
    """
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise MachineError("there is no login for the hub", "run `hf auth login`, or set HF_TOKEN")
    said, api = as_said(found, wishes), HfApi()
    with explained(f"the base model `{found.base}`", "name another with --base user/model"):
        card = None if found.base is None else api.model_info(found.base).card_data
    license = {key: card[key] for key in LICENSE if card is not None and card.get(key)}
    languages = said.languages or tuple(languages_of(api, hub_datasets(found.run.recipe)))
    return replace(said, license=said.license or license, languages=languages)


def languages_of(api: Any, names: list[str]) -> dict[str, None]:
    """Return the languages that hub data sets say they have, in their order; one that cannot be seen says nothing."""
    from huggingface_hub.errors import RepositoryNotFoundError

    found: dict[str, None] = {}
    for name in names:
        with explained(f"the data set `{name}`"), suppress(RepositoryNotFoundError):
            said = (api.dataset_info(name).card_data or {}).get("language") or []
            found |= dict.fromkeys([said] if isinstance(said, str) else said)
    return found


def upload(files: dict[str, Path], repository: str, *, public: bool) -> tuple[str, bool]:
    """Send files to a repository, which is made if it is not there; return its address and whether it is private."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    with explained(f"`{repository}`", "the token must be allowed to write there: `hf auth whoami`, `hf auth login`"):
        address = api.create_repo(repository, private=not public, exist_ok=True)
        operations = [CommitOperationAdd(name, path) for name, path in files.items()]
        api.create_commit(repository, operations, commit_message="Trained by gspo-lite")
        return str(address), bool(api.model_info(repository).private)


@contextmanager
def explained(what: str, hint: str | None = None) -> Iterator[None]:
    """Raise errors of the hub's client as a user sees them: UsageError for a refusal, MachineError without a hub."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # of httpx, from 2.0 on of httpx2

    try:
        yield
    except (HfHubHTTPError, ValueError) as error:  # ValueError: the hub does not take the card
        raise UsageError(f"the hub refuses {what}: {' '.join(str(error).split())[:300]}", hint) from error
    except (OSError, HTTPError) as error:
        raise MachineError(f"the hub cannot be reached: {first_line(error)}", "try again online") from error
