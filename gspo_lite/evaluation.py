"""Measures a model on held-out problems: greedy and at the training temperature, with intervals.

Owns what the figures of eval.json mean. Must not know how the model was trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gspo_lite.data.images import COLUMN as IMAGES
from gspo_lite.load_parts import player_outside
from gspo_lite.load_trained import find_trained
from gspo_lite.models.generate import Answer, Play, Played, answer
from gspo_lite.recipe.schema import Recipe
from gspo_lite.rewards.contract.guarded import Call, GuardedReward
from gspo_lite.rewards.contract.judging import can_judge, form_of, judge_of, score, verdicts
from gspo_lite.rewards.format import follows_form
from gspo_lite.system.quiet import quietly
from gspo_lite.tools.turns import TURNS

SUCCESS = 1.0  # what an environment pays for one
PAID = "the share of conversations whose environment's get_reward() is at least 1"
Z95 = 1.959964  # standard normal quantile of a two-sided 95 percent interval


@dataclass(frozen=True)
class Evaluation:
    """Figures of one evaluation, as in eval.json, and the greedy completions behind them."""

    figures: dict[str, Any]
    samples: list[dict[str, Any]]


def evaluate(
    model: Any,
    processing: Any,
    problems: Any,
    recipe: Recipe,
    rewards: Sequence[GuardedReward] = (),
    progress: Callable[[int, int], None] | None = None,
    play: Play | None = None,
) -> Evaluation:
    """Answer every held-out problem once greedily and once at the training temperature.

    Args:
        processing: the model's tokenizer, or its processor where it sees images.
        problems: rows with `prompt`, `answer` and the columns the rewards read.
        rewards: reward functions whose mean over the greedy completions is reported as well.
        progress: called with (problems answered, answers wanted).
        play: answers problems where the recipe has tools or an environment, as a `Player` does.

    Returns:
        The figures of `evaluate_greedy`, with `sampled_accuracy` and its interval `sampled_ci95` in addition.
    """
    rows = list(problems)
    total, temperature = 2 * len(rows), recipe.generation.temperature
    play = play or partial(asked, model, processing, recipe)
    greedy = evaluate_greedy(model, processing, rows, recipe, rewards, part_of(progress, 0, total), play)
    sampled = play(rows, temperature, part_of(progress, len(rows), total))
    drawn = outcomes(rewards, rows, sampled, recipe, sampled.said)
    figures = {"sampled_accuracy": drawn and share(drawn), "sampled_ci95": drawn and wilson(drawn)}
    return Evaluation(greedy.figures | figures, greedy.samples)


def evaluate_greedy(
    model: Any,
    processing: Any,
    problems: Any,
    recipe: Recipe,
    rewards: Sequence[GuardedReward] = (),
    progress: Callable[[int], None] | None = None,
    play: Play | None = None,
) -> Evaluation:
    """Answer every held-out problem once greedily; the arguments are those of `evaluate`.

    Returns:
        figures: `accuracy` (by the first of the recipe's rewards that judges, else by `math_correct`),
        `lenient_accuracy` (the right answer anywhere) and `format_rate`, each a share of `n`; `ci95` is the Wilson
        score interval of `accuracy`; `mean_tokens` and mean `rewards`. All but format, tokens and rewards are None
        where no reward judges and the problems have no answers; format is None where neither the prompt nor a reward
        names a place for the answer. With tools also `mean_turns`, `calls_per_episode` and the share of calls that
        failed; where only an environment pays, `accuracy_is` says that accuracy is by what it pays.
    """
    rows = list(problems)
    play = play or partial(asked, model, processing, recipe)
    played = play(rows, None, progress)
    judge, greedy = judge_of(recipe, rewards), played.answers
    said = played.said or judged(rewards, rows, greedy, recipe)
    strict = outcomes(rewards, rows, played, recipe, said)
    by_environment = paid_for(rewards, played) is not None
    lenient = strict if by_environment or strict is None else found_anywhere(judge, rows, greedy, strict)
    values = {name: call.values for name, call in said.items()}
    figures = {
        "accuracy": strict and share(strict),
        "ci95": strict and wilson(strict),
        "lenient_accuracy": lenient and share(lenient),
        "format_rate": format_rate(greedy, recipe),
        "n": len(rows),
        "mean_tokens": sum(len(one.ids) for one in greedy) / len(rows),
        "rewards": {name: mean(one) for name, one in values.items()},
        **played.figures,
        **({"accuracy_is": PAID} if by_environment else {}),
    }
    return Evaluation(figures, list(samples(rows, greedy, strict or [None] * len(rows), values)))


def part_of(progress: Callable[[int, int], None] | None, before: int, total: int) -> Callable[[int], None] | None:
    """Return how a part reports its progress that begins after `before` of a whole."""
    return None if progress is None else lambda done: progress(before + done, total)


def asked(model: Any, processing: Any, recipe: Recipe, rows: list[dict[str, Any]], *options: Any) -> Played:
    """Answer each row by one completion, where the recipe has no tools; `options` are temperature and progress."""
    return Played(answer(model, processing, rows, recipe, *options))


def paid_for(rewards: Sequence[GuardedReward], played: Played) -> list[float | None] | None:
    """Return what environments paid, if nothing else says which conversations were a success; else None."""
    return None if any(one.judges for one in rewards) else played.paid


def outcomes(
    rewards: Sequence[GuardedReward],
    rows: list[dict[str, Any]],
    played: Played,
    recipe: Recipe,
    said: Mapping[str, Call],
) -> list[bool | None] | None:
    """Return whether each answer is right; None if nothing can tell."""
    paid = paid_for(rewards, played)
    if paid is not None:
        return [None if value is None else value >= SUCCESS for value in paid]
    return ruled(judge_of(recipe, rewards), rows, played.answers, recipe, said)


def asked_while_training(problems: Any, recipe: Recipe) -> Any:
    """Return the held-out problems of `training.eval_steps`, the first `data.eval.during_training`; None without it."""
    if recipe.training.eval_steps is None:
        return None
    limit = recipe.data.eval.during_training
    return problems if limit is None else problems.select(range(min(limit, len(problems))))


def ruled(
    judge: GuardedReward,
    rows: list[dict[str, Any]],
    answers: list[Answer],
    recipe: Recipe,
    said: Mapping[str, Call] | None = None,
) -> list[bool | None] | None:
    """Return whether each completion is right; None if the problems do not have what the judge reads.

    Args:
        said: what rewards have said about these completions already, by name.
    """
    if said and judge.__name__ in said:
        return verdicts(said[judge.__name__])
    if not can_judge(judge, rows[0]):
        return None
    return verdicts(judged([judge], rows, answers, recipe)[judge.__name__])


def judged(
    rewards: Sequence[GuardedReward], rows: list[dict[str, Any]], answers: list[Answer], recipe: Recipe
) -> dict[str, Call]:
    """Return what each reward says about the completions."""
    texts, ids = [one.text for one in answers], [one.ids for one in answers]
    return score(rewards, rows, texts, ids, at_once=recipe.data.eval.batch_size)


def found_anywhere(
    judge: GuardedReward, rows: list[dict[str, Any]], answers: list[Answer], strict: list[bool | None]
) -> list[bool | None]:
    """Return whether each completion has the right answer somewhere; the strict verdict where the judge cannot tell.

    The last number of a text says nothing about an expression, a word, a letter or JSON.
    """
    anywhere = getattr(judge.function, "anywhere", None)
    if anywhere is None:
        return strict
    found = (anywhere(one.text, row.get("answer")) for one, row in zip(answers, rows, strict=True))
    return [verdict if one is None else one for one, verdict in zip(found, strict, strict=True)]


def format_rate(answers: list[Answer], recipe: Recipe) -> float | None:
    """Return the share of completions in the recipe's form; None where it has none."""
    form = form_of(recipe)
    return None if form is None else share([follows_form(one.text, form) for one in answers])


def samples(
    rows: list[dict[str, Any]],
    answers: list[Answer],
    right: list[bool | None],
    values: dict[str, list[float | None]],
) -> Iterator[Any]:
    """Yield the rows of eval_samples.jsonl."""
    for index, (row, said, correct) in enumerate(zip(rows, answers, right, strict=True)):
        rewards = {name: one[index] for name, one in values.items()}
        about = {"index": index, "prompt": row["prompt"], "answer": row.get("answer"), "completion": said.text}
        turns = {} if said.turns is None else {TURNS: said.turns}
        yield {**about, "correct": correct, "rewards": rewards, **turns}


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are not None; None if there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def share(outcomes: Sequence[bool | None]) -> float:
    """Return the share of true outcomes among all; one that could not be judged is not right."""
    return sum(outcome is True for outcome in outcomes) / len(outcomes)


def wilson(outcomes: Sequence[bool | None]) -> list[float]:
    """Return the Wilson score interval (1927) of a share at 95 percent, which is right even for few problems."""
    n, p = len(outcomes), share(outcomes)
    centre = p + Z95**2 / (2 * n)
    spread = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
    return [max(0.0, (centre - spread) / (1 + Z95**2 / n)), min(1.0, (centre + spread) / (1 + Z95**2 / n))]


@quietly
def evaluate_path(path: str, recipe: Recipe | None = None, limit: int | None = None) -> dict[str, Any]:
    """Return the figures of a run folder, an adapter or a model on a recipe's held-out problems.

    Args:
        path: a run folder (its own recipe is used), a PEFT adapter folder, a model folder, a hub id or `starter`.
        recipe: whose problems and generation settings to use; required if `path` is not a run folder.
        limit: use the first so many problems.
    """
    from gspo_lite.data.sources import load_problems
    from gspo_lite.models.load import load_for_evaluation

    recipe, adapter = find_trained(path, recipe)
    if limit is not None:
        held_out = recipe.data.eval.model_copy(update={"limit": limit})
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"eval": held_out})})
    problems = load_problems(recipe.data, whole_rows=recipe.environment is not None).held_out
    loaded = load_for_evaluation(recipe.model, adapter, images=IMAGES in problems.column_names)
    play = player_outside(recipe, loaded)
    rewards = play.rewards if play else []
    return evaluate(loaded.model, loaded.processing_class, problems, recipe, rewards, play=play).figures
