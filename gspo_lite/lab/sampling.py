"""Completions of the model before training, greedy and in groups, and what a recipe's rewards say about them.

Owns the figures of both. Must not know what to advise.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gspo_lite.evaluation import asked, format_rate, outcomes, share
from gspo_lite.load_parts import Parts
from gspo_lite.models.generate import Answer, Play, Played
from gspo_lite.rewards.contract.guarded import Call, GuardedReward
from gspo_lite.rewards.contract.judging import score
from gspo_lite.rewards.contract.sums import all_equal, weighted_sum
from gspo_lite.system.progress import live

Row = dict[str, Any]


@dataclass(frozen=True)
class Decoded:
    """Completions that were decoded in one way.

    Attributes:
        completions: their number.
        expected: mean of the weighted sum of rewards, R.
        accuracy: share that is right by the reward that judges held-out answers; None where none can.
        format_share: share in the recipe's form; None where it has none.
        truncated_share: share cut off at max_completion_length.
        conversations: with tools, mean_turns, calls_per_episode, and shares of calls that went wrong; else empty.
    """

    completions: int
    expected: float
    accuracy: float | None
    format_share: float | None
    truncated_share: float
    mean_tokens: float
    conversations: dict[str, Any]


@dataclass(frozen=True)
class Sampling(Decoded):
    """Groups of completions, sampled as in training.

    Attributes:
        flat_share: share of groups whose completions all have the same R and teach nothing.
        generation_seconds: for all completions, the greedy ones included.
    """

    groups: int
    group_size: int
    flat_share: float
    generation_seconds: float


@dataclass(frozen=True)
class RewardPreview:
    """One reward over all sampled completions.

    Attributes:
        mean, low, high: of the completions it could judge; None without any.
        within: mean standard deviation inside a group, which GSPO learns from.
        flat_share: share of groups in which all completions score the same.
        none_share: share of completions it could not judge.
        seconds: of all its calls.
    """

    name: str
    weight: float
    mean: float | None
    low: float | None
    high: float | None
    within: float
    flat_share: float
    none_share: float
    seconds: float


@dataclass(frozen=True)
class Completions:
    """A completion of each row, and what each reward says about it, by its name."""

    rows: Sequence[Row]
    played: Played
    calls: dict[str, Call]

    @property
    def answers(self) -> list[Answer]:
        """Their texts, token ids and, of conversations with tools, turns."""
        return self.played.answers

    @property
    def texts(self) -> list[str]:
        """Their texts."""
        return [one.text for one in self.answers]

    def values(self, index: int) -> dict[str, float | None]:
        """Return the score of one completion by each reward."""
        return {name: call.values[index] for name, call in self.calls.items()}


def sample(parts: Parts, rows: Sequence[Row]) -> tuple[Completions, Completions]:
    """Return a greedy completion of each row, and a group of sampled ones of each, group after group."""
    loaded, recipe = parts.loaded, parts.recipe
    group, temperature = recipe.generation.num_generations, recipe.generation.temperature
    repeated = [row for row in rows for _ in range(group)]
    play: Play = parts.play or partial(asked, loaded.model, loaded.processing_class, recipe)
    with live("sampling", len(rows) + len(repeated), ends=False) as view:
        greedy = play(list(rows), None, view.update)
        sampled = play(repeated, temperature, lambda done: view.update(len(rows) + done))
    return scored(parts, rows, greedy, len(rows)), scored(parts, repeated, sampled, group)


def rewards_of(parts: Parts) -> list[GuardedReward]:
    """Return the rewards of a run, and those that environments pay."""
    return parts.play.rewards if parts.play else parts.rewards


def scored(parts: Parts, rows: Sequence[Row], played: Played, at_once: int) -> Completions:
    """Score completions with every reward, `at_once` in a call, unless they were while they were played."""
    texts, ids = [one.text for one in played.answers], [one.ids for one in played.answers]
    calls = played.said or score(parts.rewards, rows, texts, ids, at_once=at_once)
    return Completions(rows, played, calls)


def decoded(parts: Parts, done: Completions) -> Decoded:
    """Return the figures of completions."""
    lengths, limit = [len(one.ids) for one in done.answers], parts.recipe.generation.max_completion_length
    right = outcomes(parts.rewards, list(done.rows), done.played, parts.recipe, done.calls)
    return Decoded(
        len(lengths),
        expected=statistics.fmean(total or 0.0 for total in totals(parts, done)),
        accuracy=None if right is None else share(right),
        format_share=format_rate(done.answers, parts.recipe),
        truncated_share=statistics.fmean(len(one.ids) + one.foreign >= limit for one in done.answers),
        mean_tokens=statistics.fmean(lengths),
        conversations=done.played.figures,
    )


def sampling(parts: Parts, done: Completions, seconds: float) -> Sampling:
    """Return the figures of groups of completions."""
    size = parts.recipe.generation.num_generations
    groups = grouped(totals(parts, done), size)
    flat = statistics.fmean(map(all_equal, groups))
    return Sampling(**vars(decoded(parts, done)), groups=len(groups), group_size=size, flat_share=flat,
                    generation_seconds=seconds)  # fmt: skip


def totals(parts: Parts, done: Completions) -> list[float | None]:
    """Return R of each completion; None where no reward could judge it."""
    weights = [one.weight for one in rewards_of(parts)]
    return [weighted_sum(list(done.values(index).values()), weights) for index in range(len(done.answers))]


def grouped(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Return values in groups of one size."""
    return [values[start : start + size] for start in range(0, len(values), size)]


def reward_previews(rewards: Sequence[GuardedReward], calls: Mapping[str, Call], size: int) -> list[RewardPreview]:
    """Return the figures of each reward from its call for groups of one size."""
    return [reward_preview(one, calls[one.__name__], size) for one in rewards]


def reward_preview(one: GuardedReward, call: Call, size: int) -> RewardPreview:
    """Return the figures of one reward."""
    groups = [[value for value in group if value is not None] for group in grouped(call.values, size)]
    known, judged = [value for group in groups for value in group], [group for group in groups if group]
    mean, low, high = (statistics.fmean(known), min(known), max(known)) if known else (None, None, None)
    return RewardPreview(
        one.__name__, one.weight, mean, low, high,
        within=statistics.fmean(map(statistics.pstdev, judged)) if judged else 0.0,
        flat_share=statistics.fmean(map(all_equal, judged)) if judged else 1.0,
        none_share=call.none_count / len(call.values),
        seconds=call.seconds,
    )  # fmt: skip
