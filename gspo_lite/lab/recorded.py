"""Reads completions from a file, such as a run's completions.jsonl, with all that the run gave its rewards.

Owns how a row of the file finds its problem in the recipe's data. Must not know how a reward judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gspo_lite.completion.text import completion_text
from gspo_lite.data.chats import is_chat
from gspo_lite.data.files import read_file
from gspo_lite.data.keys import key_of
from gspo_lite.data.prompts import as_text, messages
from gspo_lite.errors import DataError
from gspo_lite.lab.attempts import Attempt
from gspo_lite.lab.judging import question_of

# Of completions.jsonl, not columns of the data.
OWN_KEYS = (
    "completion", "problem_key", "step", "rewards", "advantage", "extracted", "completion_ids", "extra",
    "token_advantages",
)  # fmt: skip
Row = dict[str, Any]


@dataclass
class Group:
    """Completions of one problem, with all that a reward is given about them.

    Attributes:
        step: the optimizer steps that had been taken.
        completions: texts, or lists of messages.
        completion_ids: token ids of each completion, None where they are not known.
    """

    row: Row
    step: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    completions: list[Any] = field(default_factory=list)
    completion_ids: list[list[int] | None] = field(default_factory=list)


class Finder:
    """Finds the problem of a row of a file among those of a recipe.

    Attributes:
        lost: rows that name a problem which is not there; they keep the columns of the file.
    """

    def __init__(self, problems: Sequence[Row], system: str | None):
        self.system, self.lost = system, 0
        self.by_key = {key_of(row): row for row in problems}
        self.by_text = {question_of(row["prompt"]).strip(): row for row in problems}
        self.by_text |= {as_text(row["prompt"]): row for row in problems}

    def __call__(self, values: Row) -> Row:
        """Return the problem; without one, the columns of the file, with its prompt as messages as in a run."""
        named = values.get("problem_key")
        if isinstance(named, str) and named in self.by_key:
            return self.by_key[named]
        self.lost += named is not None
        columns = {name: value for name, value in values.items() if name not in OWN_KEYS}
        prompt = columns.get("prompt") or ""
        if not isinstance(prompt, str) and not is_chat(prompt):
            raise ValueError("the prompt is not text or a list of messages")
        found = self.by_text.get(as_text(prompt)) or self.by_text.get(as_text(prompt).strip())
        return {**(found or {}), **columns, "prompt": found["prompt"] if found else messages(prompt, self.system)}


def read_completions(path: Path, find: Finder, needed: Iterable[str]) -> list[Group]:
    """Return a file's completions by problem.

    A row names its problem by `problem_key`, as completions.jsonl does, or by a `prompt` of the recipe's data;
    otherwise it has the columns that the rewards read.

    Args:
        needed: those columns.

    Raises:
        DataError: a row cannot be read, or does not have what a reward needs.
    """
    groups: list[Group] = []
    for line in read_file(path):
        where, values = f"`{path}` row {line.number}", line.values
        if line.problem is not None or "completion" not in values:
            raise DataError(f"{where}: {line.problem or 'there is no `completion`'}")
        try:
            row, step = find(values), steps_before(values.get("step"))
        except ValueError as error:
            raise DataError(f"{where}: {error}") from error
        missing = [name for name in needed if name not in row]
        if missing:
            hint = "add that column, or a `prompt` of the recipe's data"
            raise DataError(f"{where} has no `{missing[0]}`, which a reward reads", hint)
        if not groups or (groups[-1].row, groups[-1].step) != (row, step):
            groups.append(Group(row, step))
        groups[-1].attempts.append(Attempt(f"row {line.number}", completion_text(values["completion"]), "wrong"))
        groups[-1].completions.append(values["completion"])
        groups[-1].completion_ids.append(values.get("completion_ids"))
    return groups


def steps_before(step: Any) -> int:
    """Return the optimizer steps taken before a rollout that was recorded after its first step."""
    return step - 1 if isinstance(step, int) and step > 0 else 0
