"""Credit: the tokens of a completion that a reward applies to, and the resulting advantages, token by token.

    A_it = sum_k  w_k (r_ki - mean of the group r_k) / (std of the group R + 1e-4) * c_kit          R = sum_k w_k r_k

A reward that values single turns adds, at the tokens of turn j,

    w_k (g_kij - mean of the group g_k) / (std of the group g_k + 1e-4)          g_kij = r_kij + gamma g_ki(j+1)

with mean and deviation over all turns of the group. The GSPO paper (arXiv 2507.18071, section 4.3) names several turns
as the reason for advantages per token under one sequence ratio. Turn values beside an outcome are those of arXiv
2505.11821, which compares turns of one index only; where the model decides when to stop, that rewards stopping early.

Owns the mapping from parts of the text to characters, to sampled tokens, and from credit to advantages. Must not know
trainers, tensors or how rewards are computed. Letters: N completions, K rewards, T padded length.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from gspo_lite.completion.markers import ASKED
from gspo_lite.completion.marks import Score, Span, Steps, Turns
from gspo_lite.completion.offsets import Offset
from gspo_lite.completion.patterns import matches
from gspo_lite.completion.prefix_tree import prefix_tree_advantages
from gspo_lite.completion.text import Layout, answer_spans, tag_patterns
from gspo_lite.completion.thinking import thought_spans
from gspo_lite.recipe.schema import Credit, RegexCredit, TailCredit, TurnCredit
from gspo_lite.rewards.contract.sums import all_equal

__all__ = ["Score", "Steps", "Turns", "credit_spans", "credit_weights", "credited_advantages", "prefix_tree_advantages"]
__all__ += ["step_values", "token_weights", "turn_advantages", "turn_numbers"]

STD_FLOOR = 1e-4  # as in `objective.group_advantages`


def credit_weights(
    credit: Credit | None,
    text: str,
    offsets: Sequence[Offset],
    layout: Layout | None = None,
    turns: Sequence[int] | None = None,
) -> list[float]:
    """Return weight c_t of each token under a recipe's `credit`; all 0 if the completion does not have that part.

    Args:
        credit: the setting, None for `all`.
        text: the completion that the reward scored.
        offsets: characters of each sampled token, from `token_offsets`; `all` and `tail` use only their number.
        layout: of the completion, as in `credit_spans`.
        turns: number of each token's turn, as `turn_numbers` returns it; one turn if left out.
    """
    count = len(offsets)
    if credit is None or credit == "all":
        return [1.0] * count
    if isinstance(credit, TailCredit):
        return [float(index >= count - credit.tail) for index in range(count)]
    if isinstance(credit, TurnCredit):
        return _of_turn(credit, [1] * count if turns is None else turns)
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


def turn_numbers(own: Sequence[bool]) -> list[int]:
    """Return the number of the turn of each token, from 1; 0 at tokens that the model did not write.

    Args:
        own: whether the model wrote each token (TRL's `tool_mask`); a turn is a maximal run of its own tokens.
    """
    begins = [mine and not before for mine, before in zip(own, [False, *own], strict=False)]
    return [int(number) if mine else 0 for number, mine in zip(np.cumsum(begins), own, strict=True)]


def _of_turn(credit: TurnCredit, turns: Sequence[int]) -> list[float]:
    """Return 1 at the tokens of the turn that a credit names, else 0."""
    if credit.turn == "all":
        return [float(turn > 0) for turn in turns]
    named = {"first": 1, "last": max(turns, default=0)}.get(str(credit.turn), credit.turn)
    return [float(turn == named) for turn in turns]


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


def turn_advantages(
    turn_rewards: Sequence[Any],
    weights: Any,
    num_generations: int,
    scale_rewards: str = "group",
    gamma: float = 0.0,
) -> list[np.ndarray]:
    """Compute what rewards of single turns add to the advantages by the formula above, for each turn of N completions.

    Args:
        turn_rewards: r_kij, N arrays (turns, K), group after group. NaN means that reward k says nothing of a turn: it
            adds 0 there, and the turn is left out of mean and deviation.
        weights: w_k, (K,).
        num_generations: completions per group.
        scale_rewards: divisor, the deviation over the turns of the `group` or of the `batch`, or `none`.
        gamma: share of what the next turn earns that counts for a turn, in [0, 1].

    Returns:
        N arrays (turns,), float64; exactly 0 where all turns of a group have the same value up to rounding.
    """
    weights = np.asarray(weights, dtype=float)
    returns = [_returns(np.asarray(one, dtype=float).reshape(-1, len(weights)), gamma) for one in turn_rewards]
    batch = _deviation(np.concatenate(returns)) if returns else weights
    advantages: list[np.ndarray] = []
    for first in range(0, len(returns), num_generations):
        group = returns[first : first + num_generations]
        together = np.concatenate(group)
        spread = {"group": _deviation(together), "batch": batch, "none": 1.0 - STD_FLOOR}[scale_rewards]
        factor = np.where(_varies(together), weights / (spread + STD_FLOOR), 0.0)
        advantages += [np.nan_to_num(one - _known_mean(together)) @ factor for one in group]
    return advantages


def _returns(rewards: np.ndarray, gamma: float) -> np.ndarray:
    """Return r_j + gamma g_(j+1) along the turns, (turns, K); NaN where neither a turn nor a later one has a value."""
    returns = rewards.copy()
    for turn in range(len(rewards) - 2, -1, -1) if gamma else ():
        later = gamma * returns[turn + 1]
        returns[turn] = np.where(np.isnan(later), rewards[turn], np.nan_to_num(rewards[turn]) + later)
    return returns


def _known_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of each column without its NaN, 0 for a column of NaN only."""
    return np.nansum(values, axis=0) / (~np.isnan(values)).sum(axis=0).clip(min=1)


def _deviation(values: np.ndarray) -> np.ndarray:
    """Return the unbiased standard deviation of each column without its NaN."""
    freedom = ((~np.isnan(values)).sum(axis=0) - 1).clip(min=1)
    return np.sqrt(np.nansum((values - _known_mean(values)) ** 2, axis=0) / freedom)


def _varies(values: np.ndarray) -> np.ndarray:
    """Return whether each column has two values that differ by more than rounding."""
    return np.array([not all_equal([v for v in column if not np.isnan(v)]) for column in values.T.tolist()])
