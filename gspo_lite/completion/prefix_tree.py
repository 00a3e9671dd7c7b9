"""Advantages per token from the values of the prefixes that a group's completions share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise


def prefix_tree_advantages(
    completion_ids: Sequence[Sequence[int]], rewards: Sequence[float], num_generations: int
) -> list[list[float]]:
    """Return A_it = V(y_<=t) - V(y_<t) per token, where V is the mean reward of the group's completions with a prefix.

    A finished completion has its own reward as V, so each row adds up to R_i minus the mean of the group.

    Args:
        completion_ids: N lists of token ids without padding, group after group.
        rewards: R_i, (N,); NaN marks a completion that could not be judged: left out of V, advantages 0.
        num_generations: completions per group.
    """
    if len(completion_ids) != len(rewards) or num_generations < 1 or len(rewards) % num_generations:
        found = f"{len(completion_ids)} completions, {len(rewards)} rewards, `num_generations` `{num_generations}`"
        raise ValueError(f"found {found}; expected one reward per completion, and whole groups")
    advantages: list[list[float]] = []
    for first in range(0, len(rewards), num_generations):
        group = slice(first, first + num_generations)
        advantages += _tree_advantages(completion_ids[group], [float(reward) for reward in rewards[group]])
    return advantages


def _tree_advantages(completions: Sequence[Sequence[int]], rewards: list[float]) -> list[list[float]]:
    children: dict[tuple[int, int], int] = {}  # (node, token) -> node; node 0 is the empty prefix
    sharing: list[list[float]] = [[]]  # rewards of the completions through each node
    paths: list[list[int]] = []
    for tokens, reward in zip(completions, rewards, strict=True):
        path = [0]
        for token in tokens:
            path.append(children.setdefault((path[-1], int(token)), len(children) + 1))
        paths.append(path)
        sharing += [[] for _ in range(len(children) + 1 - len(sharing))]
        for node in path if not math.isnan(reward) else ():
            sharing[node].append(reward)
    advantages = []
    for path, reward in zip(paths, rewards, strict=True):
        if math.isnan(reward):
            advantages.append([0.0] * (len(path) - 1))
        else:
            values = [sum(sharing[node]) / len(sharing[node]) for node in path[:-1]] + [reward]
            advantages.append([after - before for before, after in pairwise(values)])
    return advantages
