"""The reward lab: scores completions of a problem with a recipe's rewards and finds hostile ones that score well.

Owns judging and the findings. Must not know where problems come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gspo_lite.completion.text import Layout, chat_text, completion_text, find_answer
from gspo_lite.lab.attempts import Attempt, hostile, in_form
from gspo_lite.rewards.contract.guarded import GuardedReward
from gspo_lite.rewards.contract.judging import score
from gspo_lite.rewards.contract.logged import TrainingState
from gspo_lite.rewards.contract.sums import exceeds, weighted_sum
from gspo_lite.rewards.grading.golds import gold_text

BYTES_PER_TOKEN = 4  # of made-up token ids, since no tokenizer is loaded
MADE_UP_IDS = f"completion_ids are made up, one for every {BYTES_PER_TOKEN} bytes, because no tokenizer is loaded"


@dataclass(frozen=True)
class Verdict:
    """One completion's scores.

    Attributes:
        extracted: the answer that was found in the completion.
        values: score of each reward by name, None where it could not judge.
        total: weighted sum of the scores, which a run optimizes.
        extra: what each reward logged about the completion, by reward and column.
    """

    completion: str
    extracted: str | None
    values: dict[str, float | None]
    total: float
    extra: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """A completion that scores at least as much as a right one, and the rewards that contribute to its score."""

    question: str
    attempt: Attempt
    verdict: Verdict
    right_total: float
    rewarded_by: list[str]

    def __str__(self) -> str:
        names = ", ".join(f"`{name}`" for name in self.rewarded_by)
        scores = f"{self.attempt.kind}: scores {self.verdict.total:g}, a right answer {self.right_total:g}"
        return f"{scores}; rewarded by {names or 'none, like the right answer'}"


def judge(
    rewards: Sequence[GuardedReward],
    row: Mapping[str, Any],
    completions: Sequence[Any],
    layout: Layout,
    completion_ids: Sequence[list[int] | None] | None = None,
    state: TrainingState | None = None,
) -> list[Verdict]:
    """Score completions of one problem, as one group, with every reward.

    Args:
        row: the problem with its prompt and the columns that the rewards read.
        completions: texts, or lists of messages.
        layout: of a completion, if no reward has one.
        completion_ids: token ids of each completion; made up where they are None.
        state: `trainer_state` of the calls.
    """
    finder = next((one.layout for one in rewards if one.layout), layout)
    texts = [completion_text(completion, finder.thinking) for completion in completions]
    known = completion_ids or [None] * len(texts)
    ids = [made_up_ids(text) if own is None else own for text, own in zip(texts, known, strict=True)]
    calls = score(rewards, [row] * len(completions), completions, ids, state=state)
    weights = [one.weight for one in rewards]
    verdicts = []
    for index, text in enumerate(texts):
        own = {name: call.values[index] for name, call in calls.items()}
        total = weighted_sum(list(own.values()), weights) or 0.0
        extra = {name: call.extra_of(index) for name, call in calls.items() if call.extra}
        verdicts.append(Verdict(text, find_answer(text, *finder), own, total, extra))
    return verdicts


def stress(
    rewards: Sequence[GuardedReward], row: Mapping[str, Any], layout: Layout, max_tokens: int
) -> tuple[list[Finding], list[Finding]]:
    """Look for completions that score at least as much as a right one.

    Returns:
        Findings, and notes: answers with the right value that are not worked out, which value graders accept.
    """
    question, gold = question_of(row["prompt"]), gold_of(row)
    attempts = [Attempt("right", in_form(layout, gold), "right"), *hostile(question, gold, layout, max_tokens)]
    right, *others = judge(rewards, row, [attempt.text for attempt in attempts], layout)
    found: dict[str, list[Finding]] = {"hostile": [], "equal": []}
    for attempt, verdict in zip(attempts[1:], others, strict=True):
        if not exceeds(right.total, verdict.total):
            names = [one.__name__ for one in rewards if one.weight * (verdict.values[one.__name__] or 0.0) > 0]
            found[attempt.role].append(Finding(question, attempt, verdict, right.total, names))
    return found["hostile"], found["equal"]


def gold_of(row: Mapping[str, Any]) -> str:
    """Return the right answer as a model would write it."""
    return gold_text(row.get("answer")) or str(row.get("answer"))


def question_of(prompt: Any) -> str:
    """Return the last message of a prompt, which is the user's."""
    return prompt if isinstance(prompt, str) else chat_text(list(prompt)[-1:])


def made_up_ids(text: str) -> list[int]:
    """Return a plausible number of token ids, for rewards that count them."""
    return list(range(-(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)))
