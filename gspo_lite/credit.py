"""Credit: the tokens of a completion that a reward applies to, and the resulting advantages, token by token.

    A_it = sum_k  w_k (r_ki - mean of the group r_k) / (std of the group R + 1e-4) * c_kit          R = sum_k w_k r_k

Owns the mapping from parts of the text to characters, to sampled tokens, and from credit to advantages. Must not know
trainers, tensors or how rewards are computed. Letters: N completions, K rewards, T padded length.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gspo_lite.completion.markers import ASKED
from gspo_lite.completion.marks import Score, Span, Steps
from gspo_lite.completion.offsets import Offset
from gspo_lite.completion.patterns import matches
from gspo_lite.completion.text import Layout, answer_spans, tag_patterns
from gspo_lite.completion.thinking import thought_spans
from gspo_lite.recipe.schema import Credit, RegexCredit, TailCredit

__all__ = ["Score", "Steps", "credit_spans", "credit_weights", "credited_advantages", "prefix_tree_advantages"]
__all__ += ["step_values", "token_weights"]

STD_FLOOR = 1e-4  # as in `objective.group_advantages`


def credit_weights(
    credit: Credit | None, text: str, offsets: Sequence[Offset], layout: Layout | None = None
) -> list[float]:
    """Return weight c_t of each token under a recipe's `credit`; all 0 if the completion does not have that part.

    Args:
        credit: the setting, None for `all`.
        text: the completion that the reward scored.
        offsets: characters of each sampled token, from `token_offsets`; `all` and `tail` use only their number.
        layout: of the completion, as in `credit_spans`.
    """
    count = len(offsets)
    if credit is None or credit == "all":
        return [1.0] * count
    if isinstance(credit, TailCredit):
        return [float(index >= count - credit.tail) for index in range(count)]
    return token_weights(credit_spans(credit, text, layout), offsets)


def credit_spans(credit: Credit, text: str, layout: Layout | None = None) -> list[Span]:
    """Return the characters of `answer`, `think`, `tags` or a regex in `text`, with weight 1.

    Without a `layout` the answer is in an answer tag, else in a box, else on a `####` line, after <think>..</think>.
    """
    known = layout or Layout()
    if isinstance(credit, RegexCredit):
        spans = matches(credit.regex, text)
    elif credit == "tags":
        patterns = tag_patterns(known.thinking, known.answer_tags)
        spans = [found.span() for pattern in patterns for found in pattern.finditer(text)]
    elif credit == "think":
        spans = thought_spans(text, known.thinking)
    else:
        layouts = [Layout(place) for place in ASKED] if layout is None else [layout]
        spans = next(filter(None, (answer_spans(text, *one) for one in layouts)), [])
    return [(start, end, 1.0) for start, end in spans if start < end]


def token_weights(spans: Sequence[Span], offsets: Sequence[Offset]) -> list[float]:
    """Return the weight of each token: the largest of the spans that it shares a character with, else 0.

    A token without text, such as the end of the sequence, belongs to the spans that touch its position.
    """
    starts, ends = np.asarray(offsets, dtype=int).reshape(-1, 2).T
    weights = np.zeros(len(starts))
    for start, end, weight in spans:
        inside = np.where(starts == ends, (start <= starts) & (ends <= end), (starts < end) & (start < ends))
        weights = np.maximum(weights, inside * weight)
    return weights.tolist()


def step_values(steps: Steps, offsets: Sequence[Offset]) -> list[float]:
    """Return the value of the step in which each token starts; a token without text belongs to the step before it."""
    ends = [end for end, _ in steps.steps]
    found = [bisect_left(ends, start) if start == end else bisect_right(ends, start) for start, end in offsets]
    return [float(steps.steps[min(index, len(ends) - 1)][1]) for index in found]


def credited_advantages(
    rewards: Any,
    weights: Any,
    credits: Any,
    num_generations: int,
    scale_rewards: str = "group",
    token_rewards: Any = None,
) -> np.ndarray:
    """Compute A_it by the formula above; with every credit 1 it is `group_advantages` of the weighted sum.

    If the sums R of a group are equal although its rewards differ, the divisor is 1e-4 and the advantages are huge.

    Args:
        rewards: r_ki, (N, K), group after group. NaN means that reward k cannot judge completion i; it counts as 0 in
            R, as in TRL, unless no reward can judge: then the completion is left out and its advantages are 0.
        weights: w_k, (K,).
        credits: c_kit in [0, 1], (N, K, T), 0 at padding.
        num_generations: completions per group.
        scale_rewards: divisor, the standard deviation of R in the `group` or the `batch`, or `none`.
        token_rewards: values of `Steps`, (N, K, T), that replace r_ki at their tokens; NaN keeps r_ki.

    Returns:
        Advantages (N, T), float64.

    Raises:
        ValueError: shapes do not fit, a reward or weight is infinite or a credit is outside [0, 1].
    """
    rewards, weights, credits = (np.asarray(values, dtype=float) for values in (rewards, weights, credits))
    _check_credited(rewards, weights, credits, num_generations, scale_rewards)
    judged = ~np.isnan(rewards).all(axis=1)
    values = np.where(np.isnan(rewards), 0.0, rewards)
    at_token = values[:, :, None]
    if token_rewards is not None:
        at_token = np.where(np.isnan(token_rewards), at_token, token_rewards)
    differences = at_token - _group_mean(values, judged, num_generations)[:, :, None]
    advantages = np.einsum("nkt,k->nt", differences * credits, weights) * judged[:, None]
    if scale_rewards == "none":
        return advantages
    size = num_generations if scale_rewards == "group" else len(rewards)
    return advantages / (_group_std(values @ weights, judged, size) + STD_FLOOR)


def _group_mean(values: np.ndarray, judged: np.ndarray, size: int) -> np.ndarray:
    """Return the mean over the judged rows of each run of `size` rows, repeated for each row: (N, K) to (N, K)."""
    sums = (values * judged[:, None]).reshape(-1, size, values.shape[1]).sum(axis=1)
    counts = judged.reshape(-1, size).sum(axis=1).clip(min=1)
    return np.repeat(sums / counts[:, None], size, axis=0)


def _group_std(values: np.ndarray, judged: np.ndarray, size: int) -> np.ndarray:
    """Return the unbiased standard deviation of the judged rows of each run of `size` rows, (N,) to (N, 1)."""
    deviation = (values - _group_mean(values[:, None], judged, size)[:, 0]) * judged
    freedom = (judged.reshape(-1, size).sum(axis=1) - 1).clip(min=1)
    return np.repeat(np.sqrt((deviation**2).reshape(-1, size).sum(axis=1) / freedom), size)[:, None]


def _check_credited(rewards: np.ndarray, weights: np.ndarray, credits: np.ndarray, size: int, scale: str) -> None:
    found = f"rewards {rewards.shape}, weights {weights.shape}, credits {credits.shape}, {size} per group, `{scale}`"
    if rewards.ndim != 2 or weights.shape != rewards.shape[1:] or credits.shape[:-1] != rewards.shape:
        raise ValueError(f"{found}; expected shapes (N, K), (K,) and (N, K, T)")
    if size < 1 or len(rewards) % size:
        raise ValueError(f"{found}; expected a `num_generations` that divides N")
    if scale not in ("group", "batch", "none"):
        raise ValueError(f"{found}; expected `scale_rewards` `group`, `batch` or `none`")
    if np.isinf(rewards).any() or not np.isfinite(weights).all() or not ((credits >= 0) & (credits <= 1)).all():
        raise ValueError(f"{found}; expected finite rewards (or NaN) and weights, and credits from 0 to 1")


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
