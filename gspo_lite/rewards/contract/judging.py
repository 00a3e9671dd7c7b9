"""Scores completions that training did not sample with a recipe's rewards: held-out answers, previews, made-up texts.

Owns how completions of any origin are scored, which reward decides whether one is right, and which form they should
have. Training itself goes
through TRL, which calls the same guarded rewards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gspo_lite.completion.text import Layout
from gspo_lite.recipe.schema import Recipe, RewardSettings
from gspo_lite.rewards.contract.guarded import Call, GuardedReward, calls
from gspo_lite.rewards.contract.logged import TrainingState
from gspo_lite.rewards.contract.registry import build_rewards, get, layout_read
from gspo_lite.system.imports import is_code

OWN_COLUMNS = ("prompt", "completion", "completion_ids")  # of a row, which `score` passes separately
DEFAULT_JUDGE = RewardSettings(name="math_correct")


def score(
    rewards: Sequence[GuardedReward],
    rows: Sequence[Mapping[str, Any]],
    texts: Sequence[Any],
    completion_ids: Sequence[Sequence[int]],
    at_once: int | None = None,
    state: TrainingState | None = None,
) -> dict[str, Call]:
    """Score N completions with each reward; return one call per reward, by its name.

    Args:
        rows: the problem of each completion, with its prompt and the columns that rewards read.
        texts: the completions; rewards get a text as the assistant's message, as in training, and messages as they are.
        completion_ids: token ids of each completion.
        at_once: completions per call, to which a reward's timeout applies; all if left out.
        state: `trainer_state` of the calls; if left out, the last that training passed, or one before the first step.
    """
    size = at_once or len(texts)
    found: dict[str, list[Call]] = {one.__name__: [] for one in rewards}
    for part in (slice(start, start + size) for start in range(0, len(texts), size)):
        asked = rows[part]
        columns = {name: [row[name] for row in asked] for name in asked[0] if name not in OWN_COLUMNS}
        inputs: dict[str, Any] = {
            "prompts": [row["prompt"] for row in asked],
            "completions": [as_messages(completion) for completion in texts[part]],
            "completion_ids": list(completion_ids[part]),
            **({} if state is None else {"trainer_state": state}),
        }
        with calls() as heard:
            for one in rewards:
                one(**inputs, **columns)
        for call in heard:
            found[call.name].append(call)
    return {name: joined(parts) for name, parts in found.items()}


def as_messages(completion: Any) -> Any:
    """Return a text as the assistant's message; messages unchanged."""
    return [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion


def joined(parts: Sequence[Call]) -> Call:
    """Return several calls of one reward as one."""
    values = [value for part in parts for value in part.values]
    marks = [mark for part in parts for mark in part.marks]
    errors, seconds = sum(part.error_count for part in parts), sum(part.seconds for part in parts)
    columns = dict.fromkeys(name for part in parts for name in part.extra)
    extra = {name: [v for part in parts for v in part.extra.get(name, [None] * len(part.values))] for name in columns}
    names = dict.fromkeys(name for part in parts for name in part.metrics)
    metrics = {name: [v for part in parts for v in part.metrics.get(name, [])] for name in names}
    return Call(parts[0].name, values, marks, errors, seconds, extra, metrics)


def judge_of(recipe: Recipe, rewards: Sequence[GuardedReward] = ()) -> GuardedReward:
    """Return the reward that decides which completions are right: the recipe's first that judges, else `math_correct`.

    Args:
        rewards: the recipe's rewards, if they have been built already.
    """
    built = next((one for one in rewards if one.judges), None)
    if built is not None:
        return built
    settings = () if rewards else recipe.rewards
    chosen = next((one for one in settings if decides(one)), DEFAULT_JUDGE)
    return build_rewards([chosen], recipe.data.layout)[0]


def can_judge(judge: GuardedReward, columns: Collection[str]) -> bool:
    """Return whether problems with these columns have what the judge reads."""
    return all(name in columns for name in judge.columns)


def decides(settings: RewardSettings) -> bool:
    """Return whether a reward of a recipe judges correctness; a custom one is imported to find out."""
    return build_rewards([settings])[0].judges if is_code(settings.name) else get(settings.name).judges


def form_of(recipe: Recipe) -> Layout | None:
    """Return the layout that the completions of a recipe should have: where its data or its first reward with a place
    says that the answer stands. None where neither does, or where the whole text is the answer.
    """
    data = recipe.data
    read = (layout_read(one, data.layout) for one in recipe.rewards)
    form = data.layout if data.names_a_place else next(filter(None, read), None)
    return None if form is None or form.marker == "text" else form


def verdicts(call: Call) -> list[bool | None]:
    """Return whether each completion is right by the reward that decides; None if it could not judge."""
    return [None if value is None else value == 1.0 for value in call.values]
