"""The reward lab for a recipe: its rewards on completions of its problems, made up or from a file, without a model.

Owns joining data and rewards, and the printed lines. Must not know how a reward judges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gspo_lite.completion.text import completion_text
from gspo_lite.data.files import read_file
from gspo_lite.data.prompts import as_text
from gspo_lite.data.sources import load_problems
from gspo_lite.errors import DataError
from gspo_lite.lab.attempts import RIGHT, WRONG, Attempt, instructive
from gspo_lite.lab.judging import MADE_UP_IDS, Finding, Verdict, gold_of, judge, question_of, stress
from gspo_lite.recipe.schema import Recipe
from gspo_lite.rewards.contract.golds import check_golds, unusable_golds
from gspo_lite.rewards.contract.guarded import GuardedReward, calls
from gspo_lite.rewards.contract.registry import build_rewards, check_columns
from gspo_lite.rewards.contract.sums import exceeds
from gspo_lite.system.figures import brief, columns, number

OWN_KEYS = ("step", "rewards", "advantage", "extracted", "completion_ids")  # of completions.jsonl, not columns
WIDTH = 48  # characters of a completion in a table
Row = dict[str, Any]


@dataclass
class Bench:
    """A recipe's rewards and problems, and the seconds that each reward has taken so far.

    Attributes:
        sound: the problems whose gold can be matched, so that a right completion can be made up.
        notes: lines for the user about the other problems.
    """

    rewards: list[GuardedReward]
    problems: list[Row]
    sound: list[Row]
    notes: list[str]
    marker: str
    max_tokens: int
    seconds: Counter[str] = field(default_factory=Counter)

    def judge(self, row: Row, completions: Sequence[str]) -> list[Verdict]:
        """Score completions of one problem with every reward."""
        with calls() as heard:
            verdicts = judge(self.rewards, row, completions, self.marker)
        self.seconds.update({call.name: call.seconds for call in heard})
        return verdicts


@dataclass(frozen=True)
class Trial:
    """One problem with completions and the verdict on each."""

    row: Row
    attempts: list[Attempt]
    verdicts: list[Verdict]

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the trial's table as plain data."""
        for attempt, verdict in zip(self.attempts, self.verdicts, strict=True):
            yield {
                "question": question_of(self.row["prompt"]), "gold": self.row.get("answer"), "kind": attempt.kind,
                "completion": verdict.completion, "extracted": verdict.extracted,
                "rewards": verdict.values, "total": verdict.total,
            }  # fmt: skip


def bench(recipe: Recipe) -> Bench:
    """Load a recipe's rewards and problems; raise UsageError if the data does not have a column that a reward reads."""
    rewards = build_rewards(recipe.rewards, recipe.data.marker)
    train = load_problems(recipe.data).train
    check_columns(rewards, train.column_names)
    notes = check_golds(rewards, train, recipe.data.source)
    rows = list(train)
    lost = {number for number, _, _ in unusable_golds(rewards, (row.get("answer") for row in rows))} if notes else set()
    sound = [row for number, row in enumerate(rows, 1) if number not in lost]
    marker = rewards[0].marker or recipe.data.marker
    return Bench(rewards, rows, sound, notes, marker, recipe.generation.max_completion_length)


def trials(recipe: Recipe, completions: Path | None, count: int) -> tuple[Bench, list[Trial]]:
    """Judge the completions in a file, or made-up ones of the first `count` problems."""
    one = bench(recipe)
    if completions is not None:
        groups = from_file(completions, one)
    else:
        groups = [(row, instructive(gold_of(row), one.marker)) for row in one.sound[:count]]
    return one, [Trial(row, tries, one.judge(row, [a.text for a in tries])) for row, tries in groups]


def from_file(path: Path, one: Bench) -> list[tuple[Row, list[Attempt]]]:
    """Return a JSONL file's completions by problem; a row also has columns, or a prompt of the recipe's data.

    Raises:
        DataError: a row cannot be read, or does not have what a reward needs.
    """
    known = {as_text(row["prompt"]): row for row in one.problems}
    needed = dict.fromkeys(column for reward in one.rewards for column in reward.columns)
    groups: list[tuple[Row, list[Attempt]]] = []
    for line in read_file(path):
        if line.problem is not None or "completion" not in line.values:
            raise DataError(f"`{path}` row {line.number}: {line.problem or 'there is no `completion`'}")
        own = {name: value for name, value in line.values.items() if name not in ("completion", *OWN_KEYS)}
        prompt = own.setdefault("prompt", "")
        row = {**known.get(as_text(prompt), {}), **own}
        missing = [name for name in needed if name not in row]
        if missing:
            message = f"`{path}` row {line.number} has no `{missing[0]}`, which a reward reads"
            raise DataError(message, "add that column, or a `prompt` of the recipe's data")
        if not groups or groups[-1][0] != row:
            groups.append((row, []))
        text = completion_text(line.values["completion"])
        groups[-1][1].append(Attempt(f"row {line.number}", text, "wrong"))
    return groups


def unrewarded(done: Sequence[Trial]) -> Iterator[str]:
    """Yield one line if a right answer in the recipe's own form scores no more than a wrong one."""
    compared = [{a.kind: v for a, v in zip(trial.attempts, trial.verdicts, strict=True)} for trial in done]
    found = [one for one in compared if RIGHT in one and not exceeds(one[RIGHT].total, one[WRONG].total)]
    if found:
        right, wrong = found[0][RIGHT], found[0][WRONG]
        yield (
            f"A right answer in the recipe's own form is not rewarded: it scores {right.total:g}, a wrong one "
            f"{wrong.total:g} ({len(found)} of {len(done)} problems), as in `{brief(right.completion, 100)}`. Check "
            "the form that the rewards read, and the golds"
        )


def lines_of_trials(one: Bench, done: Sequence[Trial]) -> Iterator[str]:
    """Yield a warning if right answers are not rewarded, a table for each problem, and the cost of the rewards."""
    yield from (f"note: {note}" for note in one.notes)
    yield from unrewarded(done)
    names = [reward.__name__ for reward in one.rewards]
    for trial in done:
        question, gold = question_of(trial.row["prompt"]), str(trial.row.get("answer"))
        yield f"problem: {brief(question, 80)}   gold: {brief(gold, 40)}"
        head = ["completion", "", "extracted", *names, "total"]
        rows = [
            [attempt.kind, brief(verdict.completion, WIDTH),
             "none" if verdict.extracted is None else brief(verdict.extracted, 20),
             *(number(verdict.values[name]) for name in names), number(verdict.total)]
            for attempt, verdict in zip(trial.attempts, trial.verdicts, strict=True)
        ]  # fmt: skip
        yield from (f"  {line}" for line in columns([head, *rows]))
        yield ""
    yield "weights  " + "  ".join(f"{reward.__name__} {reward.weight:g}" for reward in one.rewards)
    yield "seconds  " + "  ".join(f"{name} {one.seconds[name]:.3f}" for name in names)
    yield f"note: {MADE_UP_IDS}"


def stressed(recipe: Recipe, count: int) -> tuple[Bench, list[Finding], list[Finding], list[Trial]]:
    """Return findings and notes on the first `count` problems of a recipe, and plain trials of the same problems."""
    one, plain = trials(recipe, None, count)
    results = [stress(one.rewards, row, one.marker, one.max_tokens) for row in one.sound[:count]]
    found, notes = ([finding for result in results for finding in result[part]] for part in (0, 1))
    return one, found, notes, plain


def lines_of_findings(
    one: Bench, found: Sequence[Finding], notes: Sequence[Finding], tried: Sequence[Trial]
) -> Iterator[str]:
    """Yield a warning if right answers are not rewarded, and an example of each kind of finding with its count."""
    count = len(tried)
    yield from (f"note: {note}" for note in one.notes)
    yield from unrewarded(tried)
    for word, group in (("FINDING", found), ("note", notes)):
        for kind, times in Counter(finding.attempt.kind for finding in group).items():
            example = next(finding for finding in group if finding.attempt.kind == kind)
            yield f"{word}: {example} ({times} of {count} problems)"
            yield f"    question    {brief(example.question, 100)}"
            yield f"    completion  {brief(example.verdict.completion, 100)}"
    if notes:
        yield "A note is an answer with the right value, but not worked out; a reward that compares values accepts it."
    kinds = len({finding.attempt.kind for finding in found})
    yield f"{f'{kinds} kinds of finding' if kinds else 'no finding'} on {count} problems; {MADE_UP_IDS}"
