"""The parts of a run: data, rewards, model, engine and the trainer's configuration, loaded and checked.

Cheap parts come first, so that an error in the recipe is found before a model is loaded. Writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gspo_lite.data.images import COLUMN as IMAGES
from gspo_lite.data.inputs import thoughts_opened
from gspo_lite.data.lengths import drop_long_prompts
from gspo_lite.data.local import is_local
from gspo_lite.data.rows import EMBEDDED
from gspo_lite.data.sources import Problems, load_problems
from gspo_lite.errors import RecipeError, UsageError
from gspo_lite.models.adapters import WEIGHTS, adapter_folder, adapter_named, contradictions, following, read_config
from gspo_lite.models.defaults import differing
from gspo_lite.models.engines import Engine, choose_engine, refuse_fp8, unheeded
from gspo_lite.models.libraries import import_libraries
from gspo_lite.models.load import LoadedModel, choose_backend, load_model
from gspo_lite.models.names import is_local_model
from gspo_lite.models.processing import load_processing
from gspo_lite.recipe.explain import dotted
from gspo_lite.recipe.schema import Recipe
from gspo_lite.rewards.contract.custom import listed
from gspo_lite.rewards.contract.golds import check_golds
from gspo_lite.rewards.contract.judging import DEFAULT_JUDGE, can_judge, judge_of
from gspo_lite.rewards.contract.registry import build_rewards, check_columns, problem_checks
from gspo_lite.rewards.grading.grader import start_ahead
from gspo_lite.tools.load import NO_TOOLS, Tools, load_tools
from gspo_lite.training.checkpoint.manifest import described
from gspo_lite.training.examples import check_examples
from gspo_lite.training.watch.trackers import require

if TYPE_CHECKING:
    from gspo_lite.training.play import Player


ENVIRONMENT = "environment"  # the column that chooses one of several


@dataclass(frozen=True)
class Parts:
    """The parts of a run, loaded and checked before anything is written."""

    recipe: Recipe
    problems: Problems
    rewards: list[Any]
    loaded: LoadedModel
    engine: Engine
    args: Any  # a GSPOConfig, whose module must not be imported before Unsloth
    tools: Tools = NO_TOOLS
    play: Player | None = None  # answers rows where the recipe has tools or an environment
    begun_with: str | None = None  # sha256 of the adapter that is continued


def load_parts(recipe: Recipe, unused: Iterable[str] = ()) -> Parts:
    """Load and check everything a run needs, cheap parts first.

    The backend comes first, because Unsloth must be imported before trl, which a custom reward may import.
    """
    require(recipe.output.report_to)
    start_ahead()  # on another core, so that the grader has imported its engine by the first evaluation
    backend = choose_backend(recipe.model)
    checks, whole_rows = problem_checks(recipe.rewards), recipe.environment is not None
    problems = load_problems(recipe.data, checks, whole_rows=whole_rows)
    images = IMAGES in problems.train.column_names
    refuse_fp8(recipe.model, backend)
    engine = choose_engine(recipe.generation.engine, recipe.model, backend, images=images)
    rewards, tools = build_rewards(recipe.rewards, recipe.data.layout), load_tools(recipe)
    parts = {f"of `{recipe.data.source}`": problems.train, "of the held-out problems": problems.held_out}
    for which, part in parts.items():
        check_columns(rewards, part.column_names)
        problems.notes.extend(check_golds(rewards, part, which))
        refuse_unknown_environments(recipe, part, which)
    refuse_unmeasured(recipe, rewards, problems, tools)
    check_examples(recipe, problems)
    import_libraries(("transformers", "peft", "gspo_lite.training.build"), unused)
    if tools:
        refuse_without_roles(recipe, images)
    loaded = load_model(
        recipe.model, backend, seed=recipe.training.seed, vllm=engine.fast_inference, images=images,
        gradient_checkpointing=recipe.training.gradient_checkpointing,
    )  # fmt: skip
    loaded.notes.extend(generation_notes(recipe, loaded))
    idle = unheeded(recipe.model, engine.fast_inference)
    loaded.notes.extend(f"model.{key} has no effect without vLLM inside Unsloth" for key in idle)
    longest, kwargs = recipe.generation.max_prompt_length, recipe.model.chat_template_kwargs
    from gspo_lite.training.config import config_from_recipe
    from gspo_lite.training.oversample import refuse_oversampling

    args = config_from_recipe(recipe, Path(recipe.output.dir), use_vllm=engine.name == "vllm")
    play = player_of(recipe, loaded, rewards, tools)  # last, because a configuration resets what accelerate knows
    problems = drop_long_prompts(problems, loaded.processing_class, longest, kwargs, play.tools_of if play else None)
    refuse_oversampling(args, problems.train.column_names)
    name = recipe.model.adapter
    begun_with = None if name is None else described(adapter_folder(name) / WEIGHTS)["sha256"]
    return Parts(recipe, problems, rewards, loaded, engine, args, tools, play, begun_with)


def player_of(recipe: Recipe, loaded: LoadedModel, rewards: list[Any], tools: Tools) -> Player | None:
    """Return what answers rows by conversations with tools; None where a recipe has neither tools nor environment."""
    if not tools:
        return None
    from gspo_lite.training.play import Player  # imports trl, which must not come before unsloth

    return Player(recipe, loaded.model, loaded.processing_class, rewards, tools)


def player_outside(recipe: Recipe, loaded: LoadedModel, *, judged: bool = True) -> Player | None:
    """Return what plays the conversations of a recipe with a trained model; None where it has no tools.

    Args:
        judged: whether the recipe's own rewards will judge them; if not, their code is not imported.
    """
    if not recipe.plays:
        return None
    rewards = build_rewards(recipe.rewards if judged else [DEFAULT_JUDGE], recipe.data.layout)
    return player_of(recipe, loaded, rewards, load_tools(recipe))


def refuse_without_roles(recipe: Recipe, images: bool) -> None:
    """Refuse a model that cannot play conversations with tools, before its weights are loaded."""
    from gspo_lite.training.tool_roles import refuse_without_tool_roles  # imports trl

    refuse_without_tool_roles(load_processing(recipe.model, images), recipe.model.name)


def refuse_unknown_environments(recipe: Recipe, rows: Any, which: str) -> None:
    """Refuse rows that choose an environment which the recipe does not have."""
    known = [name for name in recipe.environments if name is not None]
    if not known:
        return
    if ENVIRONMENT not in rows.column_names:
        raise UsageError(f"the rows {which} have no column `{ENVIRONMENT}`, which chooses one of {listed(known)}")
    for number, name in enumerate(rows[ENVIRONMENT], 1):
        if name not in known:
            raise UsageError(f"row {number} {which}: `{ENVIRONMENT}` is `{name}`, allowed: {listed(known)}")


def with_adapter(recipe: Recipe) -> Recipe:
    """Return the recipe with base and shape of the adapter that it continues, downloaded if it is on the hub.

    Raises:
        UsageError: it is not there, or the recipe contradicts it. MachineError: the hub cannot be reached.
    """
    name = adapter_named(recipe.model)
    if name is None:
        return recipe
    folder = adapter_folder(name)
    found = contradictions(recipe.model, read_config(folder))
    lines = [f"`{dotted(one.place)}`: {one.message}" for one in found if one.severity == "error"]
    if lines:
        raise RecipeError(lines)
    return following(recipe, folder)


def generation_notes(recipe: Recipe, loaded: LoadedModel) -> Iterator[str]:
    """Yield how completions differ from those that the model would give elsewhere."""
    opened = thoughts_opened(loaded.processing_class, recipe.data.layout, recipe.model.chat_template_kwargs)
    if opened:
        yield f"its chat template opens `{opened.strip()}`: completions are judged as if they began with it"
    unused = differing(loaded.sampling, recipe.generation.model_dump())
    if unused:
        listed = ", ".join(f"{name} {value}" for name, value in unused.items())
        yield f"its own sampling defaults are not used, but the recipe's: {listed}"


def refuse_unmeasured(recipe: Recipe, rewards: list[Any], problems: Problems, tools: Tools) -> None:
    """Refuse settings that go by held-out accuracy where nothing says which answers are right."""
    wanted = {"output.keep_best": recipe.output.keep_best, "training.stop_early": recipe.training.stop_early}
    names = [f"`{name}`" for name, value in wanted.items() if value]
    if tools.pays and not any(one.judges for one in rewards):
        return
    if names and not can_judge(judge_of(recipe, rewards), problems.held_out.column_names):
        raise UsageError(
            f"{' and '.join(names)} need held-out accuracy, but the held-out problems have no answers and no reward "
            "of the recipe judges completions without one",
            "give data.columns.answer, or a reward that judges; training.eval_steps alone reports mean rewards",
        )


def custom_code(parts: Parts) -> dict[str, dict[str, str]]:
    """Return what the names in a recipe stood for: sha256 of custom code and of a continued LoRA, and the weights."""
    adapter, sha256 = parts.recipe.data.adapter, getattr(parts.problems.adapter, "sha256", None)
    return {
        "custom_rewards": {one.__name__: one.sha256 for one in parts.rewards if one.sha256},
        "custom_adapter": {adapter.rpartition(":")[2]: sha256} if sha256 else {},
        "custom_tools": parts.tools.sha256,
        "model_weights": parts.loaded.weights,
        "continued": {} if parts.begun_with is None else {str(parts.recipe.model.adapter): parts.begun_with},
    }


def offline_if_local(recipe: Recipe) -> None:
    """Keep the Hugging Face libraries off the network if model, data and judge are on this machine."""
    data = recipe.data
    named = [data.source, data.eval.source or data.source]
    named += [recipe.model.adapter] if recipe.model.adapter else []
    named += [recipe.warmup.source] if recipe.warmup and recipe.warmup.source else []
    named += [str(reward.options.get("model")) for reward in recipe.rewards if reward.name == "reward_model"]
    if is_local_model(recipe.model.name) and all(name in EMBEDDED or is_local(name) for name in named):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
