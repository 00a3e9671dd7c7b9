"""Shows how a recipe's rewards score the untrained model: is there something to learn, and from which reward?

Samples groups as the run would, beside a greedy answer to each problem, scores them with the run's rewards and advises
what to change. Trains nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gspo_lite.checked_recipe import refuse
from gspo_lite.lab.advice import advice, without_calls, without_form
from gspo_lite.lab.sampling import (
    Completions,
    Decoded,
    RewardPreview,
    Sampling,
    decoded,
    reward_previews,
    rewards_of,
    sample,
    sampling,
)
from gspo_lite.load_parts import load_parts
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system.figures import brief, columns, number, share
from gspo_lite.system.quiet import quietly
from gspo_lite.system.say import say
from gspo_lite.tools.shown import END_WORDS
from gspo_lite.tools.shown import lines_of as told_lines
from gspo_lite.tools.turns import TURNS

SHOWN = 3  # sampled completions of the first problem
WIDTH, RESULT = 70, 200  # characters of a line, and of the result of a tool


@dataclass(frozen=True)
class Preview:
    """What `rewards preview` prints.

    Attributes:
        obstacle: what to do first where no completion has the recipe's form; None if one has.
        examples: completions of the first problem, the greedy one first.
        advice: begins with the most harmful problem.
        notes: about the data.
    """

    obstacle: str | None
    greedy: Decoded
    sampling: Sampling
    rewards: list[RewardPreview]
    examples: list[dict[str, Any]]
    advice: list[str]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values, for --json."""
        return asdict(self)


@quietly
def preview(recipe: Recipe, samples: int) -> Preview:
    """Answer `samples` problems with the untrained model and judge the answers; raise what `run` raises in loading."""
    refuse(recipe)
    parts = load_parts(recipe)
    rows = [dict(row) for row in parts.problems.train.select(range(min(samples, len(parts.problems.train))))]
    group, longest = recipe.generation.num_generations, recipe.generation.max_completion_length
    say(f"sampling {len(rows)} groups of {group} completions, and a greedy one of each problem ...")
    start = time.perf_counter()
    greedy, sampled = sample(parts, rows)
    figures = sampling(parts, sampled, time.perf_counter() - start)
    rewards = reward_previews(rewards_of(parts), sampled.calls, group)
    answers = [*greedy.answers, *sampled.answers]
    obstacle = without_calls(answers) or without_form(recipe, [one.text for one in answers])
    return Preview(
        obstacle,
        decoded(parts, greedy), figures, rewards,
        [*examples("greedy", greedy, 1), *examples("sampled", sampled, min(SHOWN, group))],
        advice(figures, rewards, longest, obstacle=obstacle),
        parts.problems.notes,
    )  # fmt: skip


def examples(decoding: str, done: Completions, count: int) -> list[dict[str, Any]]:
    """Return the first completions with their scores."""
    found = []
    for index, answer in enumerate(done.answers[:count]):
        turns = {} if answer.turns is None else {TURNS: answer.turns}
        found.append({"decoding": decoding, "completion": answer.text, "rewards": done.values(index), **turns})
    return found


def lines_of(found: Preview) -> list[str]:
    """Return the printed lines."""
    slowest = max(found.rewards, key=lambda one: one.seconds)
    figures = found.sampling
    lines = [
        *([f"first: {found.obstacle}"] if found.obstacle else []),
        *(f"note: {note}" for note in found.notes),
        f"{figures.groups} groups of {figures.group_size} completions by the untrained model, and a greedy one of each "
        f"problem: sampled in {figures.generation_seconds:.1f} s",
        *columns(list(side_by_side(found.greedy, figures))),
        "",
        *columns(list(reward_rows(found.rewards))),
        f"expected reward {figures.expected:.2f}; {figures.flat_share:.0%} of the groups without variance; "
        f"{figures.truncated_share:.0%} cut off; slowest reward `{slowest.name}`",
        "from the first group:",
    ]
    for one in found.examples:
        values = "  ".join(f"{name} {number(value)}" for name, value in one["rewards"].items())
        told = "" if TURNS in one else brief(one["completion"], WIDTH)
        lines.append(f"  {one['decoding']:7}  {told:{WIDTH}}  {values}")
        lines += [f"           {brief(line, WIDTH)}" for line in told_lines(one.get(TURNS, ()), RESULT)]
    return lines + ([f"change: {line}" for line in found.advice] or ["nothing to change: there is something to learn"])


def side_by_side(greedy: Decoded, sampled: Decoded) -> Iterator[list[str]]:
    """Yield the rows of the table of greedy and sampled completions, without figures that neither has."""
    both = (greedy, sampled)
    yield ["", "greedy", "sampled"]
    yield ["completions", *(str(one.completions) for one in both)]
    if greedy.accuracy is not None:
        yield ["accuracy", *(share(one.accuracy) for one in both)]
    yield ["reward, mean", *(f"{one.expected:.2f}" for one in both)]
    if greedy.format_share is not None:
        yield ["right format", *(share(one.format_share) for one in both)]
    yield ["cut off", *(share(one.truncated_share) for one in both)]
    yield ["tokens, mean", *(f"{one.mean_tokens:.0f}" for one in both)]
    if greedy.conversations:
        yield from conversation_rows([one.conversations for one in both])


def conversation_rows(both: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Yield the rows of the table on conversations with tools; ways in which no call went wrong are left out."""
    yield ["turns, mean", *(f"{one['mean_turns']:.1f}" for one in both)]
    yield ["calls, mean", *(f"{one['calls_per_episode']:.1f}" for one in both)]
    for end, told in END_WORDS.items():
        if any(one["tools"][end] for one in both):
            yield [f"of these {told}", *(share(one["tools"][end]) for one in both)]


def reward_rows(rewards: Sequence[RewardPreview]) -> Iterator[list[str]]:
    """Yield the rows of the table of rewards on the sampled completions."""
    yield ["reward", "weight", "mean", "from", "to", "spread in a group", "flat groups", "not judged", "seconds"]
    for one in rewards:
        yield [
            one.name, f"{one.weight:g}", number(one.mean), number(one.low), number(one.high), f"{one.within:.2f}",
            f"{one.flat_share:.0%}", f"{one.none_share:.0%}", f"{one.seconds:.2f}",
        ]  # fmt: skip
