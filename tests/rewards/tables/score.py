"""Scores the grader on the tables beside this file: `python tests/rewards/tables/score.py [--marker boxed] [KIND ...]`.

grading.jsonl holds an answer, a gold and whether the answer is right; what is arguable is left out of the score.
contract.jsonl holds whole completions: markers, thinking, truncation, golds that nothing matches, hostile text.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gspo_lite.rewards.math import grade

TABLES = Path(__file__).parent
WRITTEN = {"tag": "<answer>{}</answer>", "boxed": "\\boxed{{{}}}", "gsm8k": "#### {}"}


@dataclass(frozen=True)
class Case:
    """One row of a table: what was written, what would be right and what the grader has to say."""

    kind: str
    completion: str | None
    gold: Any
    marker: str
    verdict: bool | None
    why: str
    shown: str | None


@dataclass(frozen=True)
class Outcome:
    """What the grader said about a case, or the error it raised, and how long it took in seconds."""

    case: Case
    said: bool | Exception | None
    seconds: float

    @property
    def passed(self) -> bool:
        """Return whether the row is paid if and only if it is right; an unusable gold must give None."""
        if isinstance(self.said, Exception):
            return False
        return self.said is None if self.case.verdict is None else (self.said is True) == self.case.verdict

    @property
    def paid_wrongly(self) -> bool:
        """Return whether a wrong answer was paid."""
        return self.said is True and self.case.verdict is not True


def read_table(name: str) -> list[dict[str, Any]]:
    """Return the rows of a table."""
    return [json.loads(line) for line in (TABLES / name).read_text(encoding="utf-8").splitlines()]


def grading_cases(marker: str = "tag") -> list[Case]:
    """Return the rows of grading.jsonl that are not arguable, each answer written at the marker."""
    write = WRITTEN[marker].format
    rows = [row for row in read_table("grading.jsonl") if not row.get("arguable")]
    return [
        Case(row["kind"], write(row["answer"]), row["gold"], marker, row["right"], row["why"], shown=row["answer"])
        for row in rows
    ]


def contract_cases() -> list[Case]:
    """Return the rows of contract.jsonl."""
    return [Case("contract", **row, shown=row["completion"]) for row in read_table("contract.jsonl")]


def run(cases: Sequence[Case]) -> list[Outcome]:
    """Return the outcome of each case, each graded in a call of its own."""
    return [outcome(case) for case in cases]


def outcome(case: Case) -> Outcome:
    """Return what the grader says about one case."""
    start = time.perf_counter()
    try:
        said: bool | Exception | None = grade(case.completion, case.gold, case.marker)
    except Exception as error:
        said = error
    return Outcome(case, said, time.perf_counter() - start)


def share(outcomes: Sequence[Outcome]) -> float:
    """Return the share of cases that passed."""
    return sum(one.passed for one in outcomes) / len(outcomes)


def by_kind(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Return the outcomes grouped by kind, in the order of the table."""
    kinds: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        kinds[one.case.kind].append(one)
    return kinds


def misses(outcomes: Sequence[Outcome]) -> str:
    """Return the cases that did not pass as lines for a reader, grouped by kind."""
    lines = []
    for kind, group in by_kind([one for one in outcomes if not one.passed]).items():
        lines.append(f"\n{kind}")
        lines += [f"  {one.case.gold!a} <- {ascii(one.case.shown)[:100]}: {told(one)}" for one in group]
    return "\n".join(lines)


def told(one: Outcome) -> str:
    """Return what was said instead of what, and why."""
    return f"{one.said!r} instead of {one.case.verdict} ({one.case.why})"


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the score of each kind and of all."""
    return "\n".join(score_line(kind, group) for kind, group in [*by_kind(outcomes).items(), ("all", outcomes)])


def score_line(name: str, group: Sequence[Outcome]) -> str:
    """Return the score of one group of cases: passed, paid wrongly, refused wrongly, mean and worst time."""
    paid = sum(one.paid_wrongly for one in group)
    missed = sum(not one.passed for one in group)
    times = [one.seconds for one in group]
    counts = f"{len(group):5} cases  {paid:3} paid wrongly  {missed - paid:3} other misses"
    cost = f"{1000 * sum(times) / len(times):8.1f} ms, worst {max(times):.2f} s"
    return f"{name:32}{100 * share(group):6.1f} %{counts}{cost}"


def main() -> int:
    """Print the score and every miss; return 1 if there is one."""
    parser = argparse.ArgumentParser(description="Score the grader on the tables.")
    parser.add_argument("kinds", nargs="*", help="words that a kind contains; all kinds if none is given")
    parser.add_argument("--marker", choices=WRITTEN, default="tag", help="where the answers of grading.jsonl stand")
    chosen = parser.parse_args()
    cases = grading_cases(chosen.marker) + contract_cases()
    if chosen.kinds:
        cases = [case for case in cases if any(word in case.kind for word in chosen.kinds)]
    outcomes = run(cases)
    print(misses(outcomes), summary(outcomes), sep="\n\n")
    return int(any(not one.passed for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
