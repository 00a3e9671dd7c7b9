"""The reward lab for a recipe: its rewards on completions of its problems, made up or from a file, without a model.

Owns joining data and rewards, and the printed lines. Must not know how a reward judges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gspo_lite.completion.text import Layout
from gspo_lite.data.prompts import system_message
from gspo_lite.data.sources import load_problems
from gspo_lite.lab.attempts import RIGHT, WRONG, Attempt, instructive, unanswered
from gspo_lite.lab.judging import MADE_UP_IDS, Finding, Verdict, gold_of, judge, question_of, stress
from gspo_lite.lab.recorded import Finder, Group, Row, read_completions
from gspo_lite.recipe.schema import Recipe
from gspo_lite.rewards.contract.golds import check_golds, unusable_golds
from gspo_lite.rewards.contract.guarded import GuardedReward, calls
from gspo_lite.rewards.contract.logged import TrainingState
from gspo_lite.rewards.contract.registry import build_rewards, check_columns, problem_checks
from gspo_lite.rewards.contract.sums import exceeds
from gspo_lite.system.figures import brief, columns, number
from gspo_lite.system.quiet import quietly

WIDTH = 48  # characters of a completion in a table
RECORDED_IDS = "completion_ids are those that the run recorded"
UNANSWERED = "no problem has an answer, so no hostile completion can be compared with a right one"


@dataclass
class Bench:
    """A recipe's rewards and problems, and the seconds that each reward has taken so far.

    Attributes:
        sound: the training problems whose gold can be matched, so that a right completion can be made up.
        unmatched: notes about the other training problems.
        notes: what else the user should know.
    """

    recipe: Recipe
    rewards: list[GuardedReward]
    problems: list[Row]
    sound: list[Row]
    unmatched: list[str]
    held_out: list[Row]
    layout: Layout
    seconds: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def judge(self, group: Group) -> Trial:
        """Score the completions of one problem with every reward."""
        state = TrainingState(group.step, self.recipe.training.max_steps)
        with calls() as heard:
            verdicts = judge(self.rewards, group.row, group.completions, self.layout, group.completion_ids, state)
        self.seconds.update({call.name: call.seconds for call in heard})
        return Trial(group.row, group.attempts, verdicts)


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
                "rewards": verdict.values, "total": verdict.total, "extra": verdict.extra,
            }  # fmt: skip


def bench(recipe: Recipe) -> Bench:
    """Load a recipe's rewards and problems; raise UsageError if the data does not have a column that a reward reads."""
    rewards = build_rewards(recipe.rewards, recipe.data.layout)
    data = load_problems(recipe.data, problem_checks(recipe.rewards), whole_rows=recipe.environment is not None)
    check_columns(rewards, data.train.column_names)
    unmatched = check_golds(rewards, data.train, f"of `{recipe.data.source}`")
    rows = list(data.train)
    bad = unusable_golds(rewards, (row.get("answer") for row in rows)) if unmatched else []
    lost = {number for number, _, _ in bad}
    sound = [row for number, row in enumerate(rows, 1) if number not in lost]
    layout = rewards[0].layout or recipe.data.layout
    return Bench(recipe, rewards, rows, sound, unmatched, list(data.held_out), layout)


@quietly
def trials(recipe: Recipe, completions: Path | None, count: int) -> tuple[Bench, list[Trial]]:
    """Judge the completions in a file, or made-up ones of the first `count` problems."""
    one = bench(recipe)
    groups = made_up(one, count) if completions is None else recorded(one, completions)
    if any(reward.reads("completion_ids") for reward in one.rewards):
        one.notes.append(about_ids(groups))
    return one, [one.judge(group) for group in groups]


def about_ids(groups: Sequence[Group]) -> str:
    """Say where the completion_ids of the rewards come from."""
    known = [ids is not None for group in groups for ids in group.completion_ids]
    return RECORDED_IDS if known and all(known) else MADE_UP_IDS


def made_up(one: Bench, count: int) -> list[Group]:
    """Return made-up completions of the first `count` problems."""
    groups = []
    for row in one.sound[:count]:
        attempts = instructive(gold_of(row), one.layout) if "answer" in row else unanswered(one.layout)
        groups.append(Group(row, 0, attempts, [attempt.text for attempt in attempts], [None] * len(attempts)))
    return groups


def recorded(one: Bench, path: Path) -> list[Group]:
    """Return the completions in a file, with a note about those whose problems are not in the recipe's data."""
    find = Finder([*one.problems, *one.held_out], system_message(one.recipe.data))
    needed = dict.fromkeys(column for reward in one.rewards for column in reward.columns)
    groups = read_completions(path, find, needed)
    if find.lost:
        one.notes.append(f"{find.lost} completions are of problems that the recipe's data does not have")
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
    yield from (f"note: {note}" for note in one.unmatched)
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
        yield from lines_of_extra(trial)
        yield ""
    yield "weights  " + "  ".join(f"{reward.__name__} {reward.weight:g}" for reward in one.rewards)
    yield "seconds  " + "  ".join(f"{name} {one.seconds[name]:.3f}" for name in names)
    yield from (f"note: {note}" for note in one.notes)


def lines_of_extra(trial: Trial) -> Iterator[str]:
    """Yield what the rewards logged about each completion of a trial."""
    for attempt, verdict in zip(trial.attempts, trial.verdicts, strict=True):
        for name, logged in verdict.extra.items():
            texts = ", ".join(f"{column} {brief(str(value), WIDTH)}" for column, value in logged.items())
            yield f"  {attempt.kind}: `{name}` logged {texts}"


@dataclass(frozen=True)
class Stressed:
    """What hostile completions of a recipe's problems scored.

    Attributes:
        findings: hostile completions that are rewarded like a right answer.
        notes: answers with the right value that were not worked out.
        trials: plain completions of the same problems.
        unmatched: notes on problems whose gold cannot be matched, which are left out.
    """

    findings: list[Finding]
    notes: list[Finding]
    trials: list[Trial]
    unmatched: list[str]


@quietly
def stressed(recipe: Recipe, count: int) -> Stressed:
    """Score hostile completions of the first `count` problems of a recipe."""
    one, plain = trials(recipe, None, count)
    longest = recipe.generation.max_completion_length
    answered = [row for row in one.sound[:count] if "answer" in row]
    results = [stress(one.rewards, row, one.layout, longest) for row in answered]
    found, notes = ([finding for result in results for finding in result[part]] for part in (0, 1))
    return Stressed(found, notes, plain, one.unmatched if answered else [*one.unmatched, UNANSWERED])


def lines_of_findings(tried: Stressed) -> Iterator[str]:
    """Yield a warning if right answers are not rewarded, and an example of each kind of finding with its count."""
    count = len(tried.trials)
    yield from (f"note: {note}" for note in tried.unmatched)
    yield from unrewarded(tried.trials)
    for word, group in (("FINDING", tried.findings), ("note", tried.notes)):
        for kind, times in Counter(finding.attempt.kind for finding in group).items():
            example = next(finding for finding in group if finding.attempt.kind == kind)
            yield f"{word}: {example} ({times} of {count} problems)"
            yield f"    question    {brief(example.question, 100)}"
            yield f"    completion  {brief(example.verdict.completion, 100)}"
    if tried.notes:
        yield "A note is an answer with the right value, but not worked out; a reward that compares values accepts it."
    kinds = len({finding.attempt.kind for finding in tried.findings})
    yield f"{f'{kinds} kinds of finding' if kinds else 'no finding'} on {count} problems; {MADE_UP_IDS}"
