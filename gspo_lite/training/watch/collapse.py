"""Signs of a collapsing policy in the figures of a run: what happened, the likely cause, what to do.

Each `Sign` reads the figures of one step; those of a rollout are only present at its first step. Where a trainer logs
every few steps only, they are means over its rollouts since, and the last rollout stands for those before.
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
EMPTY = 0.9  # share of completions without text
LARGE_KL = 5.0  # nats per token from the reference
RATIO_STEPS = 3  # steps in a row for a ratio that is too large
ALL_CLIPPED = 0.95  # share of the completions with an advantage; a sound quickstart has 0.52 on average, at most 0.94
IDLE_STEPS = 6  # such steps in a row, the first on each rollout apart
REPETITIVE = 0.15  # compressed size as a share of the text; 0.4 or more for prose
LONG_TEXT = 200  # bytes below which compression says nothing
MOSTLY = 0.5  # share of repetitive completions

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Sign:
    """A sign of collapse."""

    name: str
    seen: Callable[[Figures, Sequence[dict[str, Any]]], bool | None]  # from figures and rollout; None if unknown
    text: str  # what happened, with `{figure}` for figures by name, `{times}`, and `{span}` for rollouts in words
    hint: str  # likely cause and remedy
    patience: int | None = None  # in steps; None takes that of the recipe, in rollouts
    explains: tuple[str, ...] = ()  # signs that follow from this one, so that a warning about them says nothing new


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


def all_empty(figures: Figures, rollout: Sequence[dict[str, Any]]) -> bool | None:
    """Return whether nearly all completions of a rollout have no text."""
    if figures.get("reward") is None or not rollout:
        return None
    return sum(not str(row["completion"]).strip() for row in rollout) >= EMPTY * len(rollout)


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
        "empty_completions",
        all_empty,
        "nearly all completions of {span} are empty: the model ends at once",
        "the prompt may lack what the model was trained on: messages instead of plain text, so that its chat template "
        "is applied, or a thinking tag. Or a reward pays for saying nothing",
        explains=("flat_reward", "no_variance", "entropy_gone"),
    ),
    Sign(
        "flat_reward",
        below("reward_std", SAME_REWARD),
        "every completion of {span} got the same reward (the last: {reward:g})",
        "the reward is saturated: the problems are solved or out of reach, or the reward cannot distinguish answers. "
        "Look at the completions and `gspo-lite rewards test`; take harder or easier problems",
        explains=("no_variance",),
    ),
    Sign(
        "no_variance",
        above("frac_reward_zero_std", 1.0),
        "in {span} no group had two completions with different rewards, so nothing was learned",
        "problems are too easy or too hard for the model. Mix difficulties, or raise generation.num_generations or "
        "generation.temperature",
    ),
    Sign(
        "truncated",
        above("completions/clipped_ratio", CUT_OFF),
        "{completions/clipped_ratio:.0%} of the completions are cut off at the length limit, in {span}",
        "they stop before their answer, or no longer stop at all. Raise generation.max_completion_length, or add the "
        "reward soft_overlong",
    ),
    Sign(
        "entropy_gone",
        entropy_gone,
        f"the model is certain of every token (entropy below {NO_ENTROPY:g} nats) in {{span}}",
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
        "no_effect",
        above("gspo/fully_clipped_share", ALL_CLIPPED),
        f"at least {ALL_CLIPPED:.0%} of the completions with an advantage were clipped in {{times}} steps in a row, "
        "the first on each rollout apart, so they changed next to nothing: log s is between "
        "{gspo/log_ratio_min:.1e} and {gspo/log_ratio_max:.1e}, the clip begins at {epsilon:.1e}",
        "the steps before them were too large. Lower training.learning_rate, which is {learning_rate:.1e}, or "
        "training.steps_per_generation, or raise objective.epsilon",
        IDLE_STEPS,
    ),
    Sign(
        "repeated_text",
        text_repeats,
        "most completions of {span} repeat one phrase over and over",
        "a reward encourages it, or the learning rate broke the model. Add the reward repetition_penalty, or lower "
        "training.learning_rate",
    ),
)


def span(rollouts: int, *, whole: bool) -> str:
    """Return a number of rollouts in words; `whole`: they are all that there were."""
    if whole:
        return f"all {rollouts} rollouts" if rollouts > 1 else "the only rollout"
    return f"{rollouts} rollouts in a row" if rollouts > 1 else "1 rollout"
