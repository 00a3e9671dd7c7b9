"""Shows how a recipe's rewards score the untrained model: is there something to learn, and from which reward?

Samples groups as the run would, scores them with the run's rewards and advises what to change. Trains nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gspo_lite.checked_recipe import refuse
from gspo_lite.load_parts import Parts, load_parts
from gspo_lite.models.generate import generate, judged_text, ready_to_generate
from gspo_lite.recipe.schema import Recipe
from gspo_lite.rewards.contract.guarded import Call, GuardedReward
from gspo_lite.rewards.contract.judging import score
from gspo_lite.rewards.contract.sums import all_equal, weighted_sum
from gspo_lite.system.figures import brief, columns, number

MUCH_TRUNCATION = 0.2
MANY_FLAT_GROUPS = 0.5
LITTLE_SHARE = 0.02  # of the variance of the summed reward
EASY = 0.9  # of the best value seen
SHOWN = 3
Values = dict[str, list[float | None]]  # by reward, one for each completion of a group


@dataclass(frozen=True)
class RewardPreview:
    """One reward over all samples.

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
class Sampling:
    """All samples together.

    Attributes:
        expected: mean of the weighted sum of rewards, R.
        flat_share: share of groups whose completions all have the same R and teach nothing.
        truncated_share: share of completions cut off at max_completion_length.
        generation_seconds: for all samples.
    """

    groups: int
    group_size: int
    expected: float
    flat_share: float
    truncated_share: float
    mean_tokens: float
    generation_seconds: float


@dataclass(frozen=True)
class Preview:
    """What `rewards preview` prints; `notes` are about the data, `advice` begins with the most harmful problem."""

    sampling: Sampling
    rewards: list[RewardPreview]
    examples: list[dict[str, Any]]
    advice: list[str]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values, for --json."""
        return asdict(self)


def preview(recipe: Recipe, samples: int) -> Preview:
    """Sample `samples` groups from the untrained model and judge them; raise what `run` raises in loading."""
    refuse(recipe)
    parts = load_parts(recipe)
    rows = [dict(row) for row in parts.problems.train.select(range(min(samples, len(parts.problems.train))))]
    start = time.perf_counter()
    groups = [sampled(parts, row) for row in rows]
    seconds = time.perf_counter() - start
    called = [judged(parts, row, group) for row, group in zip(rows, groups, strict=True)]
    rewards = [reward_preview(one, [calls[one.__name__] for calls in called]) for one in parts.rewards]
    values = [{name: call.values for name, call in calls.items()} for calls in called]
    sampling = summary(parts, groups, values, seconds)
    shown = examples(parts, groups[0], values[0])
    return Preview(sampling, rewards, shown, advice(recipe, sampling, rewards), parts.problems.notes)


def sampled(parts: Parts, row: dict[str, Any]) -> list[list[int]]:
    """Return the token ids of one group, sampled as in training."""
    import torch

    loaded, recipe = parts.loaded, parts.recipe
    group = [row] * recipe.generation.num_generations
    with ready_to_generate(loaded.model), torch.no_grad():
        return generate(loaded.model, loaded.processing_class, group, recipe, recipe.generation.temperature)


def judged(parts: Parts, row: dict[str, Any], group: list[list[int]]) -> dict[str, Call]:
    """Call each reward on the completions of one group."""
    texts = [text_of(parts, ids) for ids in group]
    return score(parts.rewards, [row] * len(group), texts, group)


def text_of(parts: Parts, ids: list[int]) -> str:
    """Return the text of a completion that is judged."""
    recipe = parts.recipe
    return judged_text(parts.loaded.processing_class, recipe.data.layout, recipe.model.chat_template_kwargs)(ids)


def summary(parts: Parts, groups: list[list[list[int]]], judged: list[Values], seconds: float) -> Sampling:
    """Return the figures of all samples."""
    weights = [one.weight for one in parts.rewards]
    totals = [[weighted_sum(row, weights) for row in zip(*values.values(), strict=True)] for values in judged]
    lengths = [len(ids) for group in groups for ids in group]
    limit = parts.recipe.generation.max_completion_length
    return Sampling(
        len(groups), len(groups[0]),
        expected=statistics.fmean(total or 0.0 for group in totals for total in group),
        flat_share=statistics.fmean(all_equal(group) for group in totals),
        truncated_share=statistics.fmean(length >= limit for length in lengths),
        mean_tokens=statistics.fmean(lengths),
        generation_seconds=seconds,
    )  # fmt: skip


def examples(parts: Parts, group: list[list[int]], values: Values) -> list[dict[str, Any]]:
    """Return the first completions of a group with their scores."""
    texts = [text_of(parts, ids) for ids in group[:SHOWN]]
    scores = [{name: column[index] for name, column in values.items()} for index in range(len(texts))]
    return [{"completion": text, "rewards": row} for text, row in zip(texts, scores, strict=True)]


def reward_preview(one: GuardedReward, calls: Sequence[Call]) -> RewardPreview:
    """Return one reward's figures, from its call for each group."""
    groups = [[value for value in call.values if value is not None] for call in calls]
    known = [value for group in groups for value in group]
    judged = [group for group in groups if group]
    mean, low, high = (statistics.fmean(known), min(known), max(known)) if known else (None, None, None)
    return RewardPreview(
        one.__name__, one.weight, mean, low, high,
        within=statistics.fmean(map(statistics.pstdev, judged)) if judged else 0.0,
        flat_share=statistics.fmean(map(all_equal, judged)) if judged else 1.0,
        none_share=1 - len(known) / sum(len(call.values) for call in calls),
        seconds=sum(call.seconds for call in calls),
    )  # fmt: skip


def advice(recipe: Recipe, sampling: Sampling, rewards: Sequence[RewardPreview]) -> list[str]:
    """Return what to change, one line each, the most harmful first."""
    found = []
    if sampling.flat_share > MANY_FLAT_GROUPS:
        share = f"{sampling.flat_share:.0%} of the groups have no variance"
        found.append(f"{share} and teach nothing: {flat_remedy(rewards)}")
    if sampling.truncated_share > MUCH_TRUNCATION:
        remedy = f"raise generation.max_completion_length above {recipe.generation.max_completion_length}"
        share = f"{sampling.truncated_share:.0%} of the completions are cut off"
        found.append(f"{share}; {remedy}, or reward short ones (`soft_overlong`)")
    for one in rewards:
        if one.none_share > 0:
            found.append(f"`{one.name}` could not judge {one.none_share:.0%} of the completions: check the golds")
        if one.weight and one.flat_share == 1:
            found.append(f"`{one.name}` gives every completion of a group the same score: it teaches nothing yet")
    found += [f"`{name}` contributes {share:.1%} of the variance; raise its weight" for name, share in drowned(rewards)]
    slowest = max(rewards, key=lambda one: one.seconds)
    if slowest.seconds > sampling.generation_seconds:
        found.append(f"`{slowest.name}` takes longer than sampling, {slowest.seconds:.1f} s")
    return found


def flat_remedy(rewards: Sequence[RewardPreview]) -> str:
    """Return a remedy for groups without variance; the reward of largest weight says how hard the problems are."""
    main = max(rewards, key=lambda one: one.weight)
    if main.mean is not None and main.high is not None and main.mean > EASY * main.high > 0:
        return "the problems are too easy; use harder ones"
    return "raise num_generations, use easier problems, or add a reward with partial credit such as `tag_count`"


def drowned(rewards: Sequence[RewardPreview]) -> list[tuple[str, float]]:
    """Return the rewards whose share of the variance inside a group is negligible, with that share."""
    spreads = {one.name: abs(one.weight) * one.within for one in rewards if one.weight and one.within > 0}
    whole = sum(spread**2 for spread in spreads.values())
    return [(name, spread**2 / whole) for name, spread in spreads.items() if spread**2 / whole < LITTLE_SHARE]


def lines_of(found: Preview) -> list[str]:
    """Return the printed lines."""
    head = ["reward", "weight", "mean", "from", "to", "spread in a group", "flat groups", "not judged", "seconds"]
    rows = [
        [one.name, f"{one.weight:g}", number(one.mean), number(one.low), number(one.high), f"{one.within:.2f}",
         f"{one.flat_share:.0%}", f"{one.none_share:.0%}", f"{one.seconds:.2f}"]
        for one in found.rewards
    ]  # fmt: skip
    slowest = max(found.rewards, key=lambda one: one.seconds)
    sampling = found.sampling
    lines = [
        *(f"note: {note}" for note in found.notes),
        f"{sampling.groups} groups of {sampling.group_size} completions by the untrained model: "
        f"{sampling.mean_tokens:.0f} tokens on average, sampled in {sampling.generation_seconds:.1f} s",
        *columns([head, *rows]),
        f"expected reward {sampling.expected:.2f}; {sampling.flat_share:.0%} of the groups without variance; "
        f"{sampling.truncated_share:.0%} cut off; slowest reward `{slowest.name}`",
        "from the first group:",
    ]
    for one in found.examples:
        values = "  ".join(f"{name} {number(value)}" for name, value in one["rewards"].items())
        lines.append(f"  {brief(one['completion'], 70):70}  {values}")
    return lines + ([f"change: {line}" for line in found.advice] or ["nothing to change: there is something to learn"])
