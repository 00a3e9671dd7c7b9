"""Measures a model on held-out problems: greedy and at the training temperature, with intervals.

Owns what the figures of eval.json mean. Must not know how the model was trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gspo_lite.data.images import COLUMN as IMAGES
from gspo_lite.data.inputs import model_inputs, prompt_text
from gspo_lite.data.prompts import as_text
from gspo_lite.errors import UsageError
from gspo_lite.models.dense import dense_for_sampling
from gspo_lite.models.kinds import never_sampled, tokenizer_of
from gspo_lite.recipe.schema import Recipe, RewardSettings
from gspo_lite.rewards.contract.registry import build_rewards
from gspo_lite.rewards.format import follows_form
from gspo_lite.rewards.math import grade_all, lenient_match

SAMPLING_SEED = 0  # of the completions at the training temperature, the same before and after
JUDGES = ("countdown", "multiple_choice", "json_schema", "code_execution")  # rewards that are 1.0 for right alone
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
    rewards: Sequence[Any] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Answer every held-out problem once greedily and once at the training temperature.

    Args:
        processing: the model's tokenizer, or its processor where it sees images.
        problems: rows with `prompt`, `answer` and the columns the rewards read.
        rewards: reward functions whose mean over the greedy completions is reported as well.
        progress: called with (problems answered, answers wanted).

    Returns:
        figures: `accuracy` (greedy, the answer where the prompt style asks for it; by the reward of `JUDGES` where the
        recipe has one), `lenient_accuracy` (greedy, the last number anywhere), `format_rate` (greedy),
        `sampled_accuracy`, each a share of `n`; `ci95` and `sampled_ci95` are Wilson score intervals; `mean_tokens`
        counts greedy completions.
    """
    rows = list(problems)
    total = 2 * len(rows)
    greedy = answer(model, processing, rows, recipe, None, progress and (lambda n: progress(n, total)))
    sampled = answer(
        model, processing, rows, recipe, recipe.generation.temperature,
        progress and (lambda n: progress(len(rows) + n, total)),
    )  # fmt: skip
    golds = [row["answer"] for row in rows]
    strict, drawn = (verdicts(rows, answers, recipe) for answers in (greedy, sampled))
    lenient = [lenient_match(text, gold) for (text, _), gold in zip(greedy, golds, strict=True)]
    paid = reward_values(rewards, rows, greedy)
    if judge_of(recipe) is not None:
        lenient = strict  # the last number says nothing about an expression, a letter or JSON
    figures = {
        "accuracy": share(strict),
        "ci95": wilson(strict),
        "sampled_accuracy": share(drawn),
        "sampled_ci95": wilson(drawn),
        "lenient_accuracy": share(lenient),
        "format_rate": share([follows_form(text, recipe.data.marker) for text, _ in greedy]),
        "n": len(rows),
        "mean_tokens": sum(len(ids) for _, ids in greedy) / len(rows),
        "rewards": {name: mean(values) for name, values in paid.items()},
    }
    return Evaluation(figures, list(samples(rows, greedy, strict, paid)))


def judge_of(recipe: Recipe) -> RewardSettings | None:
    """The reward that says what is right where comparing with one answer cannot."""
    return next((one for one in recipe.rewards if one.name in JUDGES), None)


def verdicts(rows: list[dict[str, Any]], answers: list[tuple[str, list[int]]], recipe: Recipe) -> list[bool | None]:
    """Whether each completion is right; None where that cannot be judged."""
    judge = judge_of(recipe)
    if judge is None:
        texts, golds = [text for text, _ in answers], [row["answer"] for row in rows]
        return list(grade_all(texts, golds, recipe.data.marker))
    [reward] = build_rewards([judge], recipe.data.marker)
    return [None if value is None else value == 1.0 for value in values_of(reward, rows, answers)]


def samples(
    rows: list[dict[str, Any]],
    answers: list[tuple[str, list[int]]],
    right: list[bool | None],
    paid: dict[str, list[float | None]],
) -> Iterator[Any]:
    """Rows of eval_samples.jsonl."""
    for index, (row, (text, _), correct) in enumerate(zip(rows, answers, right, strict=True)):
        prompt = as_text(row["prompt"])
        rewards = {name: values[index] for name, values in paid.items()}
        about = {"index": index, "prompt": prompt, "answer": row["answer"], "completion": text}
        yield {**about, "correct": correct, "rewards": rewards}


def answer(
    model: Any,
    processing: Any,
    rows: list[dict[str, Any]],
    recipe: Recipe,
    temperature: float | None,
    progress: Callable[[int], None] | None = None,
) -> list[tuple[str, list[int]]]:
    """Text and token ids of one completion per row; greedy where `temperature` is None."""
    import torch

    tokenizer = tokenizer_of(processing)
    # Prompts of like length share a batch: less padding, fewer wasted steps.
    order = sorted(range(len(rows)), key=lambda i: len(prompt_text(processing, rows[i])), reverse=True)
    size = recipe.data.eval.batch_size
    answers: dict[int, tuple[str, list[int]]] = {}
    with ready_to_generate(model), torch.no_grad(), torch.random.fork_rng(), dense_for_sampling(model):
        torch.manual_seed(SAMPLING_SEED)
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            completions = generate(model, processing, [rows[i] for i in batch], recipe, temperature)
            for i, ids in zip(batch, completions, strict=True):
                answers[i] = (tokenizer.decode(ids, skip_special_tokens=True), ids)
            if progress:
                progress(len(answers))
    return [answers[i] for i in range(len(rows))]


def generate(
    model: Any, processing: Any, rows: list[dict[str, Any]], recipe: Recipe, temperature: float | None, **options: Any
) -> list[list[int]]:
    """Token ids of one completion per row, without the end token and what follows it; `options` go to the model."""
    settings, tokenizer = recipe.generation, tokenizer_of(processing)
    batch = model_inputs(processing, rows).to(model.device)
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if temperature is not None:
        sampling = {"do_sample": True, "temperature": temperature, "top_p": settings.top_p, "top_k": settings.top_k}
        sampling["min_p"] = settings.min_p
    sampling["suppress_tokens"] = never_sampled(model, processing) or None  # as in training
    output = model.generate(
        **batch,
        **sampling,
        max_new_tokens=settings.max_completion_length,
        repetition_penalty=settings.repetition_penalty,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
        **options,
    )
    ends = end_tokens(model, tokenizer)
    return [cut(ids, ends) for ids in output[:, batch["input_ids"].shape[1] :].tolist()]


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends a completion."""
    configured = model.generation_config.eos_token_id
    ends = configured if isinstance(configured, list) else [configured]
    return {token for token in [*ends, tokenizer.eos_token_id] if token is not None}


def cut(ids: list[int], ends: set[int]) -> list[int]:
    """The tokens before the first end token."""
    return ids[: next((i for i, token in enumerate(ids) if token in ends), len(ids))]


@contextmanager
def ready_to_generate(model: Any) -> Iterator[None]:
    """Evaluation mode without gradient checkpointing, which would switch the cache off; put back afterwards."""
    training, checkpointing = model.training, getattr(model, "is_gradient_checkpointing", False)
    model.eval()
    if checkpointing:
        model.gradient_checkpointing_disable()
    try:
        yield
    finally:
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.train(training)


def reward_values(
    rewards: Sequence[Any], rows: list[dict[str, Any]], answers: list[tuple[str, list[int]]]
) -> dict[str, list[float | None]]:
    """What each reward gives each completion, None where it cannot judge."""
    return {reward.__name__: values_of(reward, rows, answers) for reward in rewards}


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values there are."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def values_of(reward: Any, rows: list[dict[str, Any]], answers: list[tuple[str, list[int]]]) -> list[float | None]:
    """What one reward gives to each completion."""
    columns = {name: [row[name] for row in rows] for name in rows[0] if name != "prompt"}
    values: list[float | None] = reward(
        prompts=[row["prompt"] for row in rows],
        completions=[[{"role": "assistant", "content": text}] for text, _ in answers],
        completion_ids=[ids for _, ids in answers],
        **columns,
    )
    return values


def share(outcomes: Sequence[bool | None]) -> float:
    """Share of true outcomes among all; one that could not be judged is not right."""
    return sum(outcome is True for outcome in outcomes) / len(outcomes)


def wilson(outcomes: Sequence[bool | None]) -> list[float]:
    """Wilson score interval (1927) of a share at 95 percent: honest for few problems and near 0 and 1."""
    n, p = len(outcomes), share(outcomes)
    centre = p + Z95**2 / (2 * n)
    spread = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
    return [max(0.0, (centre - spread) / (1 + Z95**2 / n)), min(1.0, (centre + spread) / (1 + Z95**2 / n))]


def evaluate_path(path: str, recipe: Recipe | None = None, limit: int | None = None) -> dict[str, Any]:
    """Figures of a run folder, an adapter or a model on a recipe's held-out problems.

    Args:
        path: a run folder (its own recipe is used), a PEFT adapter folder, a model folder, a hub id or `starter`.
        recipe: whose problems and generation settings to use; needed where `path` is no run folder.
        limit: use the first so many problems.
    """
    from gspo_lite.data.sources import load_problems
    from gspo_lite.models.load import load_for_evaluation

    recipe, adapter = what_to_evaluate(path, recipe)
    if limit is not None:
        held_out = recipe.data.eval.model_copy(update={"limit": limit})
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"eval": held_out})})
    problems = load_problems(recipe.data).held_out
    loaded = load_for_evaluation(recipe.model, adapter, images=IMAGES in problems.column_names)
    return evaluate(loaded.model, loaded.processing_class, problems, recipe).figures


def what_to_evaluate(path: str, recipe: Recipe | None) -> tuple[Recipe, Path | None]:
    """The recipe with the right base model in it, and the adapter folder if there is one."""
    from gspo_lite.checked_recipe import load_recipe
    from gspo_lite.system import run_folder

    folder = Path(path)
    if run_folder.is_run(folder):
        recipe = recipe or load_recipe(str(folder / run_folder.RECIPE), allow_outside=True).recipe
        adapter = folder / run_folder.ADAPTER
        if not adapter.is_dir():
            raise UsageError(f"`{path}` holds no `{run_folder.ADAPTER}/`: its training did not end")
        return recipe, adapter
    if recipe is None:
        raise UsageError(f"`{path}` is no run folder, so a recipe must say what to ask", "add --recipe NAME")
    name, adapter_folder = path, None
    if (folder / "adapter_config.json").is_file():
        name = run_folder.read_json(folder / "adapter_config.json")["base_model_name_or_path"]
        adapter_folder = folder
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": name})}), adapter_folder
