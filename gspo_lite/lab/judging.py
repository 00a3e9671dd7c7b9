"""The reward lab: lays completions of a problem before a recipe's rewards and says what each got, and what is unsafe.

Owns judging and the findings. Takes rewards and rows as arguments; must not know where problems come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gspo_lite.completion.text import completion_text, find_answer
from gspo_lite.lab.attempts import Attempt, hostile, in_form
from gspo_lite.rewards.contract.guarded import GuardedReward
from gspo_lite.rewards.contract.judging import score
from gspo_lite.rewards.contract.sums import exceeds, weighted_sum
from gspo_lite.rewards.math import gold_text

BYTES_PER_TOKEN = 4  # of the token ids that are made up where no tokenizer is at hand
MADE_UP_IDS = f"completion_ids are made up, one for every {BYTES_PER_TOKEN} bytes: no tokenizer is loaded here"


@dataclass(frozen=True)
class Verdict:
    """What the rewards of a recipe say about one completion.

    Attributes:
        extracted: the answer that was found in it.
        values: of each reward by name, None where it could not judge.
        total: weighted sum of the values there are, which is what a run optimises.
    """

    completion: str
    extracted: str | None
    values: dict[str, float | None]
    total: float


@dataclass(frozen=True)
class Finding:
    """A completion that is paid at least as much as a right one."""

    question: str
    attempt: Attempt
    verdict: Verdict
    right_total: float
    paid_by: list[str]

    def __str__(self) -> str:
        return (
            f"{self.attempt.kind}: total {self.verdict.total:g}, a right answer gets {self.right_total:g}; "
            f"paid by {', '.join(f'`{name}`' for name in self.paid_by) or 'none, but so is the right answer'}"
        )


def judge(
    rewards: Sequence[GuardedReward], row: Mapping[str, Any], completions: Sequence[str], marker: str
) -> list[Verdict]:
    """Score completions of one problem, as one group, with every reward.

    Args:
        row: the problem with its prompt and the columns the rewards read.
        marker: where to look for the answer if no reward does.
    """
    ids = [made_up_ids(text) for text in completions]
    calls = score(rewards, [row] * len(completions), completions, ids)
    finder = next((one.marker for one in rewards if one.marker), marker)
    weights = [one.weight for one in rewards]
    verdicts = []
    for index, text in enumerate(completions):
        own = {name: call.values[index] for name, call in calls.items()}
        total = weighted_sum(list(own.values()), weights) or 0.0
        verdicts.append(Verdict(text, find_answer(text, finder), own, total))
    return verdicts


def stress(
    rewards: Sequence[GuardedReward], row: Mapping[str, Any], marker: str, max_tokens: int
) -> tuple[list[Finding], list[Finding]]:
    """Look for completions that are paid at least as much as a right one.

    Returns:
        findings, and notes: answers of the right value that are not worked out, which a grader of values takes.
    """
    question = question_of(row["prompt"])
    gold = gold_of(row)
    attempts = [Attempt("right", in_form(marker, gold), "right"), *hostile(question, gold, marker, max_tokens)]
    right, *others = judge(rewards, row, [attempt.text for attempt in attempts], marker)
    paid: dict[str, list[Finding]] = {"hostile": [], "equal": []}
    for attempt, verdict in zip(attempts[1:], others, strict=True):
        if not exceeds(right.total, verdict.total):
            payers = [one.__name__ for one in rewards if one.weight * (verdict.values[one.__name__] or 0.0) > 0]
            paid[attempt.role].append(Finding(question, attempt, verdict, right.total, payers))
    return paid["hostile"], paid["equal"]


def gold_of(row: Mapping[str, Any]) -> str:
    """The right answer as a model would write it."""
    answer = row.get("answer")
    return gold_text(answer) or str(answer)


def question_of(prompt: Any) -> str:
    """The last message of a prompt, which is the user's."""
    return prompt if isinstance(prompt, str) else completion_text(list(prompt)[-1:])


def made_up_ids(text: str) -> list[int]:
    """Token ids in a plausible number, for rewards that count them."""
    return list(range(-(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)))
