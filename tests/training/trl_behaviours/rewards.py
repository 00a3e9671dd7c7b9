"""Rewards: functions and models, one and several, what they are given, what they may return."""

from __future__ import annotations

import functools
from typing import Any

from tests.training.trl_behaviours import parts
from tests.training.trl_behaviours.behaviour import Behaviour
from tests.training.trl_behaviours.parts import distinct, early

ALONE = (
    "a group in which at most one row is judged teaches nothing, so it counts as one without variance, unlike in TRL"
)
ROUNDING = "advantages are 0; TRL's are rounding, which Adam would turn into full steps"
EXPLAINED = "a RewardError that names the reward, the rows and the prompt, with the reward's own error as its cause"
TWICE = ("rewards/scaled/mean", "rewards/scaled/std", "rewards/scaled_2/mean", "rewards/scaled_2/std")
EIGHT = {"per_device_train_batch_size": 8, "num_generations": 8}


async def awaited(completions: Any, **columns: Any) -> list[float]:
    return early(completions)


def silent(completions: Any, **columns: Any) -> list[None]:
    return [None] * len(completions)


def sometimes(prompts: Any, completions: Any, **columns: Any) -> list[float | None]:
    scores = early(completions)
    return [score if len(prompt.split()) % 2 else None for prompt, score in zip(prompts, scores, strict=True)]


def flat(completions: Any, **columns: Any) -> list[float]:
    return [1.0] * len(completions)


def near(completions: Any, level: Any, **columns: Any) -> list[float]:
    return [-abs(level - len(parts.spoken(one))) for one, level in zip(completions, level, strict=True)]


def needy(completions: Any, missing: Any) -> list[float]:
    return distinct(completions)


def by_ids(completion_ids: Any, **columns: Any) -> list[float]:
    return [float(sum(ids)) for ids in completion_ids]


def as_tensor(completions: Any, **columns: Any) -> Any:
    import torch

    return torch.tensor(distinct(completions))


def as_array(completions: Any, **columns: Any) -> Any:
    import numpy as np

    return np.array(distinct(completions))


def as_truths(completions: Any, **columns: Any) -> list[bool]:
    return [score > 3 for score in distinct(completions)]


def not_numbers(completions: Any, **columns: Any) -> list[float]:
    return [float("nan") if index % 3 == 0 else score for index, score in enumerate(distinct(completions))]


def too_few(completions: Any, **columns: Any) -> list[float]:
    return distinct(completions)[1:]


def broken(completions: Any, **columns: Any) -> list[float]:
    raise KeyError("of the user")


def scaled(completions: Any, factor: float, **columns: Any) -> list[float]:
    return [factor * score for score in distinct(completions)]


class Judge:
    def __call__(self, completions: Any, **columns: Any) -> list[float]:
        return early(completions)


def listening(heard: list[Any]) -> Any:
    """A reward that keeps the names of all it is given, and the step at which."""

    def names(completions: Any, trainer_state: Any, **columns: Any) -> list[float]:
        heard.append((sorted(columns), trainer_state.global_step, type(completions[0]).__name__, len(completions)))
        return distinct(completions)

    names.heard = heard  # type: ignore[attr-defined]
    return names


def heard(trainer: Any) -> Any:
    """Train; what the reward was given."""
    trainer.train()
    reward = trainer.reward_funcs[0]
    return getattr(reward, "function", reward).heard


def logging(completions: Any, log_metric: Any, log_extra: Any, **columns: Any) -> list[float]:
    log_metric("words", float(len(completions)))
    log_extra("first", [(parts.spoken(one) or [""])[0] for one in completions])
    return distinct(completions)


def extra(trainer: Any) -> Any:
    """Train; the extra columns of the last rollout."""
    trainer.train()
    return {name: list(values) for name, values in trainer._logs["extra"].items()}


def judge() -> Any:
    return str(parts.judge_folder())


def loaded_judge() -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(parts.judge_folder())


def judges_words() -> dict[str, Any]:
    return {"reward_processing_classes": parts.words_tokenizer(pad="<|pad|>")}


def names(trainer: Any) -> Any:
    return trainer.reward_func_names


def levels() -> Any:
    return parts.prompts().add_column("level", [index % 3 for index in range(12)])


def given(*rewards: Any) -> Any:
    return lambda: list(rewards)


REWARDS = [
    Behaviour("a function in a list", rewards=given(distinct), plain=True),
    Behaviour(
        "functions in a tuple",
        rewards=lambda: (distinct, early),
        unlike=("error",),
        reason="a tuple of rewards is taken, too",
        raises="AttributeError",
    ),
    Behaviour("a function on conversations", rows=parts.chats, rewards=given(early)),
    Behaviour("several functions", rewards=given(distinct, early), quick=True),
    Behaviour("an async function", rewards=given(awaited)),
    Behaviour("sync and async functions", rewards=given(distinct, awaited, by_ids)),
    Behaviour("`reward_weights`", {"reward_weights": [0.7, 0.3]}, rewards=given(distinct, early)),
    Behaviour("a weight of 0", {"reward_weights": [1.0, 0.0]}, rewards=given(distinct, early)),
    Behaviour(
        "too few `reward_weights`", {"reward_weights": [1.0]}, rewards=given(distinct, early), raises="ValueError"
    ),
    Behaviour("one of several functions returns None", rewards=given(distinct, silent)),
    Behaviour("a function returns None for some rows", rewards=given(distinct, sometimes)),
    Behaviour("nothing judges some rows", rewards=given(sometimes), unlike=("frac_reward_zero_std",), reason=ALONE),
    Behaviour("nothing judges any row", rewards=given(silent), unlike=("frac_reward_zero_std",), reason=ALONE),
    Behaviour("all completions earn the same", rewards=given(flat)),
    Behaviour(
        "all completions earn a fifth",
        {"reward_weights": [0.2], **EIGHT},
        rewards=given(flat),
        unlike=("training",),
        reason=ROUNDING,
    ),
    Behaviour("a further column of the data", rows=levels, rewards=given(near)),
    Behaviour(
        "a column that the data does not have",
        rewards=given(needy),
        ours="UsageError",
        unlike=("error",),
        reason="refused before training (UsageError), with the columns that there are",
        raises="TypeError",
    ),
    Behaviour("`completion_ids`", rewards=given(by_ids)),
    Behaviour("all that a function is given", rows=levels, rewards=lambda: listening([]), act=heard),
    Behaviour(
        "all that a function is given of conversations", rows=parts.chats, rewards=lambda: listening([]), act=heard
    ),
    Behaviour("`log_metric` and `log_extra`", rewards=given(logging), act=extra),
    Behaviour("a tensor as rewards", rewards=given(as_tensor)),
    Behaviour("an array as rewards", rewards=given(as_array)),
    Behaviour("truth values as rewards", rewards=given(as_truths)),
    Behaviour("rewards that are not a number", rewards=given(not_numbers)),
    Behaviour(
        "too few rewards",
        rewards=given(too_few),
        ours="RewardError",
        unlike=("error",),
        reason=EXPLAINED,
        raises="ValueError",
    ),
    Behaviour(
        "a function that raises",
        rewards=given(broken),
        ours="RewardError",
        unlike=("error",),
        reason=EXPLAINED,
        raises="KeyError",
    ),
    Behaviour(
        "names of functions, partials and instances",
        rewards=lambda: [distinct, functools.partial(scaled, factor=2.0), Judge()],
        act=names,
    ),
    Behaviour("a partial and an instance", rewards=lambda: [functools.partial(scaled, factor=2.0), Judge()]),
    Behaviour(
        "two functions of one name",
        rewards=lambda: [functools.partial(scaled, factor=2.0), functools.partial(scaled, factor=0.5)],
        unlike=TWICE,
        reason="the second is numbered; TRL mixes the figures of both under one name",
    ),
    Behaviour("a reward model by name", rewards=judge, quick=True),
    Behaviour("a reward model by name, on conversations", rows=parts.chats, rewards=judge),
    Behaviour("a loaded reward model and its tokenizer", rewards=loaded_judge, options=judges_words),
    Behaviour("a reward model beside a function", rewards=lambda: [distinct, judge()]),
    Behaviour(
        "two reward models and their tokenizers",
        rewards=lambda: [judge(), loaded_judge()],
        options=lambda: {"reward_processing_classes": [parts.words_tokenizer(pad="<|pad|>"), None]},
    ),
    Behaviour(
        "too few `reward_processing_classes`",
        rewards=lambda: [judge(), judge()],
        options=judges_words,
        raises="ValueError",
    ),
    Behaviour("`reward_funcs` left out", rewards=lambda: None, raises="ValueError"),
]
