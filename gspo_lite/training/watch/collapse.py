"""Signs of a collapsing policy in the figures of a run: what happened, the likely cause, what to do.

Each `Sign` reads the figures of one step; those of a rollout are only present at its first step.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SAME_REWARD = 1e-6  # standard deviation below which all completions of a rollout count as equally rewarded
CUT_OFF = 0.9  # share of completions that reach max_completion_length
NO_ENTROPY = 1e-3  # nats per token; a model that still explores has a hundred times as much
LARGE_LOG_RATIO = 1.0  # log s: the probability per token changed by a factor of e within one rollout
LARGE_KL = 5.0  # nats per token from the reference
RATIO_STEPS = 3  # steps in a row for a ratio that is too large
REPETITIVE = 0.15  # compressed size as a share of the text; 0.4 or more for prose
LONG_TEXT = 200  # bytes below which compression says nothing
MOSTLY = 0.5  # share of repetitive completions

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Sign:
    """A sign of collapse."""

    name: str
    seen: Callable[[Figures, Sequence[dict[str, Any]]], bool | None]  # from figures and rollout; None if unknown
    text: str  # what happened, with `{figure}` for figures by name and `{times}`
    hint: str  # likely cause and remedy
    patience: int | None = None  # in steps; None takes that of the recipe, in rollouts


def above(key: str, limit: float) -> Callable[[Figures, Any], bool | None]:
    """Return a test for a figure at or above a limit."""
    return lambda figures, _: None if figures.get(key) is None else figures[key] >= limit


def below(key: str, limit: float) -> Callable[[Figures, Any], bool | None]:
    """Return a test for a figure at or below a limit."""
    return lambda figures, _: None if figures.get(key) is None else figures[key] <= limit


def entropy_gone(figures: Figures, _: Any) -> bool | None:
    """Return whether the sampler is certain of every token; tested once per rollout."""
    whole = figures.get("entropy")
    entropy = figures.get("entropy_active_rows") if whole is None else whole  # if rows are left out
    if figures.get("reward") is None or entropy is None:
        return None
    return bool(entropy <= NO_ENTROPY)


def policy_ran_away(figures: Figures, _: Any) -> bool | None:
    """Return whether the ratio or the divergence is far beyond any sensible clip range."""
    sizes = [abs(figures[key]) for key in ("gspo/log_ratio_min", "gspo/log_ratio_max") if figures.get(key) is not None]
    if not sizes and figures.get("kl") is None:
        return None
    return max(sizes, default=0.0) >= LARGE_LOG_RATIO or (figures.get("kl") or 0.0) >= LARGE_KL


def text_repeats(figures: Figures, rollout: Sequence[dict[str, Any]]) -> bool | None:
    """Return whether most completions of a rollout repeat one phrase."""
    if figures.get("reward") is None or not rollout:
        return None
    return sum(repetitive(str(row["completion"])) for row in rollout) >= MOSTLY * len(rollout)


def repetitive(text: str) -> bool:
    """Return whether a long text compresses to almost nothing; linear in its length."""
    data = text.encode("utf-8", "replace")
    return len(data) >= LONG_TEXT and len(zlib.compress(data, 1)) <= REPETITIVE * len(data)


SIGNS = (
    Sign(
        "flat_reward",
        below("reward_std", SAME_REWARD),
        "every completion of {times} rollouts in a row got the same reward (the last: {reward:g})",
        "the reward is saturated: the problems are solved or out of reach, or the reward cannot distinguish answers. "
        "Look at completions.jsonl and `gspo-lite rewards test`; take harder or easier problems",
    ),
    Sign(
        "no_variance",
        above("frac_reward_zero_std", 1.0),
        "for {times} rollouts in a row no group had two completions with different rewards, so nothing was learned",
        "problems are too easy or too hard for the model. Mix difficulties, or raise generation.num_generations or "
        "generation.temperature",
    ),
    Sign(
        "truncated",
        above("completions/clipped_ratio", CUT_OFF),
        "{completions/clipped_ratio:.0%} of the completions are truncated at the length limit, for {times} rollouts",
        "they stop before their answer, or no longer stop at all. Raise generation.max_completion_length, or add the "
        "reward soft_overlong",
    ),
    Sign(
        "entropy_gone",
        entropy_gone,
        f"the model is certain of every token (entropy below {NO_ENTROPY:g} nats) for {{times}} rollouts in a row",
        "without variety there is nothing to learn. Lower training.learning_rate, raise generation.temperature, or "
        "return to an earlier checkpoint",
    ),
    Sign(
        "ratio_explosion",
        policy_ran_away,
        "the policy moved beyond what the clip can contain for {times} steps in a row",
        "the steps are too large. Lower training.learning_rate or the number of optimizer steps per rollout "
        "(steps_per_generation, num_iterations)",
        RATIO_STEPS,
    ),
    Sign(
        "repeated_text",
        text_repeats,
        "most completions of {times} rollouts in a row repeat one phrase over and over",
        "a reward encourages it, or the learning rate broke the model. Add the reward repetition_penalty, or lower "
        "training.learning_rate",
    ),
)
