"""Reads problems with a prompt and an answer from a hub data set, a local file or an embedded task.

    {"prompt": [{"role": "user", "content": "..."}], "answer": "72", "images": [...], ...the source's other columns}

Owns which rows can be used, and what is held out; `rows.py` has where they come from. Must not know models or rewards.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from gspo_lite.data.adapters import Adapter, load_adapter
from gspo_lite.data.chats import is_chat, read_chat, split_answer
from gspo_lite.data.columns import NO_COLUMN, RESERVED, SET_ASIDE, filled, renamed
from gspo_lite.data.files import Row
from gspo_lite.data.images import COLUMN, MARKER, fingerprint, images_of
from gspo_lite.data.keys import key_of
from gspo_lite.data.local import is_folder, is_local, path_of
from gspo_lite.data.prompts import as_text, messages, system_message
from gspo_lite.data.rows import has_splits, read_rows
from gspo_lite.data.table import as_dataset, has_surrogate, plain
from gspo_lite.errors import DataError
from gspo_lite.recipe.data_settings import DataSettings

MAX_PROMPT_CHARACTERS = 100_000
SHOWN = 5  # bad rows in a message
HOPELESS = 1000  # bad rows of a stream before its first usable one
OWN_SHARE = 0.1  # of a local file that is held out if the recipe has no data.eval.source
TEMPLATE = "data.template"  # the column that holds the filled template
REPEATED = "{count} problems of `{source}` repeat an earlier prompt and are left out"
ANSWERED = (
    "{count} prompts of `{source}` end in an assistant's turn, which is left out and is the answer without another"
)
UNANSWERED = "`{source}` has no answers; only a reward that needs none can judge completions"
TAKEN = "`{source}`: column `NAME` reaches rewards as `source_NAME`, because TRL has another use for its name"

RowCheck = Callable[[dict[str, Any]], None]
Identity = Callable[[dict[str, Any]], str]  # the same for equal problems


def question(problem: dict[str, Any]) -> str:
    """Return the question and a fingerprint of its images, the same for equal problems."""
    return as_text(problem["prompt"]) + fingerprint(problem.get(COLUMN, []))


@dataclass(frozen=True)
class Problems:
    """Training and held-out problems, notes for the user, one line each, the adapter that made the problems, and what
    is the same for equal ones.
    """

    train: Any
    held_out: Any
    notes: list[str]
    adapter: Adapter
    identity: Identity = question


def load_problems(data: DataSettings, checks: Sequence[RowCheck] = (), *, whole_rows: bool = False) -> Problems:
    """Load both parts of a recipe's data.

    Args:
        checks: called with each problem; raise ValueError for one that a reward cannot judge.
        whole_rows: whether rows with the same prompt and other columns are different problems, as an environment's are.

    Raises:
        DataError: a source is missing or empty, or has rows that cannot be used and `bad_rows` is `stop`.
        MachineError: a hub data set is not on this machine and the hub cannot be reached.
    """
    notes: list[str] = []
    adapt, identity = load_adapter(data.adapter), key_of if whole_rows else question
    most = data.limit + (data.eval.limit or 0) if data.streaming and data.limit else None
    train = read_problems(data, adapt, data.source, data.split, notes, checks, most, identity)
    if data.eval.source is None and not has_splits(data.source):
        cut = max(1, min(data.eval.limit or len(train), int(len(train) * OWN_SHARE)))
        train, held_out = train[:-cut], train[-cut:]
        notes.append(f"without data.eval.source, the last {cut} problems of `{data.source}` are held out")
    else:
        most = data.eval.limit if data.streaming else None
        source = data.eval.source or data.source
        held_out = read_problems(data, adapt, source, data.eval.split, notes, checks, most, identity)
    held_out = held_out[: data.eval.limit]
    train = without(train, held_out, notes, identity)[: data.limit]
    if not train:
        raise DataError(f"`data.source` `{data.source}` leaves no problem to train on")
    return Problems(as_dataset(train), as_dataset(held_out), notes, adapt, identity)


def read_problems(
    data: DataSettings, adapt: Adapter, source: str, split: str, notes: list[str],
    checks: Sequence[RowCheck] = (), most: int | None = None, identity: Identity = question,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the usable problems of one source, each once, and at most `most` of them."""
    problems: dict[str, dict[str, Any]] = {}
    unanswered: dict[str, str] = {}
    bad: list[str] = []
    counted: Counter[str] = Counter()
    for row in read_rows(data, source, split):
        try:
            problem = made(row, data, adapt, source, counted)
            for check in checks:
                check(problem)
        except ValueError as error:
            bad.append(f"{row.place}: {error}")
            if most is not None and not problems and len(bad) >= HOPELESS:
                break
            continue
        except DataError as error:  # in a user's adapter
            raise DataError(f"`{source}`: {row.place}: {error.message}") from error
        key = identity(problem)
        counted[REPEATED] += key in problems
        problems.setdefault(key, problem)
        if "answer" not in problem:
            unanswered[key] = f"{row.place}: the answer is missing"
        if len(problems) == most:
            break
    if len(unanswered) == len(problems):  # then a reward that needs answers is refused, instead of rows
        counted[UNANSWERED] += len(unanswered)
    else:
        bad += unanswered.values()
        problems = {key: problem for key, problem in problems.items() if key not in unanswered}
    report_bad_rows(bad, source, data.bad_rows, notes)
    notes += [what.format(count=count, source=source) for what, count in counted.items() if count]
    if not problems:
        raise DataError(f"`{source}` has no row that can be used")
    return list(problems.values())


def made(row: Row, data: DataSettings, adapt: Adapter, source: str, counted: Counter[str]) -> dict[str, Any]:
    """Return the problem of a row; raise ValueError if it cannot be used."""
    if row.problem:
        raise ValueError(row.problem)
    values, names = renamed(row.values, data.columns.rename), data.columns
    if data.template is not None:
        values = {**values, TEMPLATE: filled(data.template, values).rstrip().lstrip("\n")}
        names = names.model_copy(update={"prompt": TEMPLATE})
    problem = plain(adapt(values, names))
    for name in [name for name in problem if name in RESERVED and name != names.images]:
        problem[f"{SET_ASIDE}{name}"] = problem.pop(name)
        counted[TAKEN.replace("NAME", name)] += 1
    return finished(asked(problem, data, source, counted), system_message(data))


def asked(row: dict[str, Any], data: DataSettings, source: str, counted: Counter[str]) -> dict[str, Any]:
    """Return the row with the answer of its conversation out of its prompt, and its images under TRL's name."""
    prompt, answer, name = row["prompt"], row.get("answer"), data.columns.images
    inside: list[Any] = []
    if is_chat(prompt):
        chat, inside = read_chat(prompt)
        prompt, last = split_answer(chat)
        counted[ANSWERED] += len(prompt) < len(chat)
        answer = last if answer is None else answer
    if isinstance(answer, list) and is_chat(answer):
        answer = split_answer(read_chat(answer)[0])[1]
    others = {key: value for key, value in row.items() if key not in (name, "prompt", "answer")}
    problem = {"prompt": prompt, **({} if answer is None else {"answer": answer}), **others}
    if name in row or inside:
        folder = None if not is_local(source) else path_of(source) if is_folder(source) else path_of(source).parent
        problem[COLUMN] = images_of(row.get(name), folder) + images_of(inside, folder)
        problem["prompt"] = without_marker(prompt)
    return problem


def without_marker(prompt: Any) -> Any:
    """Return a prompt without the marks of an image's place, which the model's processor sets itself."""
    if isinstance(prompt, str):
        return prompt.replace(MARKER, "").strip()
    if not is_chat(prompt):
        return prompt
    return [{**message, "content": without_marker(message["content"])} for message in prompt]


def finished(row: dict[str, Any], system: str | None) -> dict[str, Any]:
    """Return the problem with its prompt as a chat and its answer as text; raise ValueError if either is wrong."""
    prompt = row["prompt"]
    if not isinstance(prompt, str) and not is_chat(prompt):
        raise ValueError(f"the prompt is {kind(prompt)}, not text or a list of messages")
    text = as_text(prompt)
    if not (text if isinstance(prompt, str) else as_text([m for m in prompt if m["role"] != "system"])).strip():
        raise ValueError("the prompt is empty")
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise ValueError(f"the prompt has {len(text)} characters; at most {MAX_PROMPT_CHARACTERS} are allowed")
    if has_surrogate(text):
        raise ValueError("the prompt has half of a surrogate pair, which is not a character")
    answer = {"answer": answer_text(row["answer"])} if "answer" in row else {}
    return {**row, "prompt": messages(prompt, system), **answer}


def answer_text(answer: Any) -> str:
    """Return an answer as text; raise ValueError unless it is text or a finite number."""
    if isinstance(answer, Decimal):
        answer = f"{answer:f}" if answer.is_finite() else float(answer)
    if isinstance(answer, date):
        answer = str(answer)
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        raise ValueError(f"the answer is {kind(answer)}, not text or a number")
    if isinstance(answer, float) and not math.isfinite(answer):
        raise ValueError(f"the answer is {answer}")
    text = str(answer).strip()
    if not text:
        raise ValueError("the answer is empty")
    return text


def kind(value: Any) -> str:
    """Return a value's type in a user's words."""
    if isinstance(value, list) and not value:
        return "an empty list"
    return "missing" if value is None else f"a {type(value).__name__}"


def report_bad_rows(bad: list[str], source: str, bad_rows: str, notes: list[str]) -> None:
    """Raise DataError for bad rows, or add a note, as the recipe says."""
    if not bad:
        return
    shown = bad[:SHOWN] + ([f"... and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else [])
    if bad_rows == "stop":
        lines = "\n".join(f"  {line}" for line in shown)
        message = f"`{source}` has {len(bad)} rows that cannot be used:\n{lines}"
        unnamed = any(NO_COLUMN in line for line in bad)
        remedy = "name the right columns in data.columns or data.template" if unnamed else "fix them"
        raise DataError(message, f"{remedy}, or set data.bad_rows to skip")
    notes.append(f"{len(bad)} rows of `{source}` skipped: {'; '.join(shown)}")


def without(
    train: list[dict[str, Any]], held_out: list[dict[str, Any]], notes: list[str], identity: Identity
) -> list[dict[str, Any]]:
    """Return the training problems that are not held out."""
    measured = {identity(problem) for problem in held_out}
    kept = [problem for problem in train if identity(problem) not in measured]
    if len(kept) < len(train):
        notes.append(f"{len(train) - len(kept)} training problems are also held out and are not trained on")
    return kept
