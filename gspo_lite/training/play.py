"""Plays conversations with tools outside training, by the loop of the trainer: TRL's own.

Evaluation, preview, chat and export get answers from a `Player` where a recipe has tools or an environment, so that a
model is measured on what it was trained for. Must not know what the answers are for.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig

from gspo_lite.completion.marks import Turns
from gspo_lite.completion.text import Layout, completion_text
from gspo_lite.models.generate import SAMPLING_SEED, Answer, Played, ready_to_generate
from gspo_lite.recipe.schema import Recipe
from gspo_lite.rewards.contract.guarded import Call, GuardedReward
from gspo_lite.rewards.contract.judging import joined, score
from gspo_lite.rewards.contract.signature import ENVIRONMENTS
from gspo_lite.tools.guarded import FAILURES, Episode, Limits, figures_of
from gspo_lite.tools.load import Tools
from gspo_lite.tools.shown import CALLS
from gspo_lite.tools.turns import count_turns, turns_told
from gspo_lite.training.checkpoint.numeric_state import random_states, restore_random_states
from gspo_lite.training.config import config_from_recipe
from gspo_lite.training.trainer import GSPOTrainer

# What a trainer would do to the model, to the disk or to other processes, or would warn of, and a player need not.
WITHOUT_TRAINING: dict[str, Any] = {
    "beta": 0.0, "sample_factor": 1, "reward_weights": None, "importance_sampling_level": "token", "loss_type": "grpo",
    "epsilon": 0.2, "epsilon_high": 0.2, "use_vllm": False, "use_transformers_continuous_batching": False,
    "gradient_checkpointing": False, "disable_dropout": False, "cast_lm_head_to_fp32": False, "use_liger_kernel": False,
    "log_completions": False, "report_to": [], "eval_strategy": "no", "save_strategy": "no",
    "load_best_model_at_end": False, "push_to_hub": False, "mask_truncated_completions": False,
}  # fmt: skip


class Curtain(Exception):
    """Ends a trainer's rollout when its conversations are over, before it computes what only training needs."""


class Stage(GSPOTrainer):
    """A trainer that plays and never trains; `output` is what its last rollout generated."""

    tells_template = False  # the trainer does
    output: Any = None

    def _turn_rewards(self, args: Any, options: dict[str, Any], limits: Limits | None, columns: Any) -> list[Any]:
        return super()._turn_rewards(args, options, limits, None)  # the rows it plays are not those it was built with

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        self.output = super()._generate(*args, **kwargs)
        raise Curtain


class Player:
    """Answers rows by conversations with the tools of a recipe, which rewards then judge as in training.

    Args:
        model: as it was loaded; building the player leaves it as it is.
        processing: its tokenizer or processor.
        rewards: of the recipe, built.
    """

    def __init__(self, recipe: Recipe, model: Any, processing: Any, rewards: Sequence[Any], tools: Tools):
        self.recipe, self.model, self.tools = recipe, model, tools
        with unchanged(model):
            self.stage = stage_of(recipe, model, processing, rewards, tools)
        self.stage.accelerator.gather = lambda tensor: tensor  # one process plays while the others wait

    def __call__(
        self,
        rows: Sequence[dict[str, Any]],
        temperature: float | None,
        progress: Callable[[int], None] | None = None,
        *,
        judge: bool = True,
        sampling_seed: int = SAMPLING_SEED,
    ) -> Played:
        """Play one conversation for each row; greedy if `temperature` is None.

        Args:
            progress: called with the number of rows done.
            judge: whether rewards judge the conversations; they need the columns of the data.
            sampling_seed: of the model's tokens and of environments; the same conversations come of the same one.
        """
        size, states, played = self.recipe.data.eval.batch_size, random_states(), []
        self.sample_at(temperature)
        try:
            seed(sampling_seed)
            with ready_to_generate(self.model), torch.no_grad():
                for start in range(0, len(rows), size):
                    played.append(self.batch(rows[start : start + size], judge))
                    if progress:
                        progress(min(start + size, len(rows)))
        finally:
            restore_random_states(states)
        return together(played)

    def tools_of(self, row: Mapping[str, Any]) -> list[Any]:
        """Return the tools that the chat template shows with the prompt of a row."""
        stage = self.stage
        if not isinstance(self.tools.environment, dict):
            return list(stage.tools)
        return list(stage._env_tools[row["environment"]])

    @property
    def rewards(self) -> list[GuardedReward]:
        """What judges conversations: the rewards of the recipe, and those that environments pay."""
        return list(self.stage.reward_funcs)

    def sample_at(self, temperature: float | None) -> None:
        """Sample at a temperature from now on, and greedily at None, where the model's engine looks for it."""
        stage = self.stage
        if stage.use_vllm:  # that of Unsloth comes with the model
            stage.vllm_generation.temperature = temperature or 0.0
            return
        greedy = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, "min_p": None}
        drawn = {name: getattr(self.recipe.generation, name) for name in ("top_p", "top_k", "min_p")}
        settings = greedy if temperature is None else {"do_sample": True, "temperature": temperature, **drawn}
        stage.generation_config.update(**settings)
        stage.generation_kwargs |= settings

    def batch(self, rows: Sequence[dict[str, Any]], judge: bool) -> Batch:
        """Play rows at once."""
        stage = self.stage
        with suppress(Curtain):
            stage._generate_and_score_completions([dict(row) for row in rows])
        stage._metrics["eval"].clear()
        _, ids, masks, completions, *_ = stage.output
        completions, environments = stage._judged(completions, ids), stage.environments
        known = [dict(row) for row in rows]
        if environments is not None:
            known = [{**row, ENVIRONMENTS: one} for row, one in zip(rows, environments, strict=True)]
        said = score(stage.reward_funcs, known, completions, ids) if judge else {}
        return Batch(stage.layout, completions, ids, masks, stage.episodes, said, paid_by(environments or (), said))


@dataclass(frozen=True)
class Batch:
    """Conversations that were played at once: messages, token ids, masks of the model's own tokens, calls, scores."""

    layout: Layout
    completions: list[Any]
    ids: list[list[int]]
    masks: list[list[int]]
    episodes: list[Episode]
    said: dict[str, Call]
    paid: list[float | None]

    def answers(self) -> Iterator[Answer]:
        """Yield the answer of each conversation."""
        thinking = self.layout.thinking
        valued = {name: call.marks for name, call in self.said.items()}
        rows = zip(self.completions, self.ids, self.masks, self.episodes, strict=True)
        for row, (messages, ids, mask, episode) in enumerate(rows):
            marks = {name: one[row].values for name, one in valued.items() if isinstance(one[row], Turns)}
            told = turns_told(messages, episode.calls, thinking, rewards=marks)
            own = [*compress(ids, mask)]
            yield Answer(completion_text(messages, thinking), own, told, len(ids) - len(own))


def together(batches: Sequence[Batch]) -> Played:
    """Return several batches as one."""
    answers = [one for batch in batches for one in batch.answers()]
    said = {name: joined([batch.said[name] for batch in batches]) for name in batches[0].said}
    paid = [value for batch in batches for value in batch.paid]
    figures = figures_of([episode for batch in batches for episode in batch.episodes])
    turns = [count_turns(one.turns or ()) for one in answers]
    return Played(
        answers,
        said,
        paid if any(value is not None for value in paid) else None,
        {
            "mean_turns": sum(turns) / len(turns),
            "calls_per_episode": figures[CALLS],
            "tools": {end: figures[f"tools/{end}"] for end in FAILURES},
        },
    )


def paid_by(environments: Sequence[Any], said: Mapping[str, Call]) -> list[float | None]:
    """Return what `get_reward` of each environment gave; None where it has none."""
    calls = [said.get(type(one).__name__) for one in environments]
    return [None if call is None else call.values[row] for row, call in enumerate(calls)]


def stage_of(recipe: Recipe, model: Any, processing: Any, rewards: Sequence[Any], tools: Tools) -> Stage:
    """Return a stage with the settings of a recipe."""
    columns = {name for reward in rewards for name in reward.columns}
    data = [{**dict.fromkeys(columns, ""), "prompt": [{"role": "user", "content": "?"}]}]  # a trainer asks for data
    with tempfile.TemporaryDirectory() as folder:
        args = config_from_recipe(recipe, Path(folder))
        for name, value in {**WITHOUT_TRAINING, "generation_batch_size": args.num_generations}.items():
            setattr(args, name, value)
        return Stage(
            model, list(rewards), args, data, processing_class=processing, guards=None, tools=tools.functions,
            environment_factory=tools.environment, tool_limits=tools.limits,
        )  # fmt: skip


@contextmanager
def unchanged(model: Any) -> Iterator[None]:
    """Restore what building a trainer changes: types of weights, attributes of modules, and random numbers."""
    weights = [(one, one.data, one.requires_grad) for one in model.parameters()]
    holders = [vars(module) for module in model.modules()]
    held = [value for one in holders for value in one.values()]
    holders += [value for value in held if isinstance(value, dict)]  # such as hooks
    holders += {id(value): vars(value) for value in held if isinstance(value, PreTrainedConfig)}.values()
    copies, states = [dict(one) for one in holders], random_states()
    try:
        # A trainer refuses a model that has nothing to train, such as one that is loaded to be measured.
        model._hf_peft_config_loaded = True
        next(one for one in model.parameters() if one.is_floating_point()).requires_grad_(True)
        yield
    finally:
        for holder, before in zip(holders, copies, strict=True):
            holder.clear()
            holder.update(before)
        for weight, data, trained in weights:
            weight.data = data
            weight.requires_grad_(trained)
        restore_random_states(states)


def seed(number: int) -> None:
    """Seed the random numbers of the model and of environments."""
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)
