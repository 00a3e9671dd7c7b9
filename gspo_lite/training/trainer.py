"""GSPOTrainer: the installed GRPOTrainer, stock or Unsloth's, with what GSPO needs in addition.

Adds float32 adapters, no sampled padding, the level `sequence_token` and the scored rollout. Must not know recipes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOTrainer

from gspo_lite.completion.decoding import as_judged, decoder
from gspo_lite.completion.text import completion_parts, first_layout
from gspo_lite.data.inputs import thoughts_opened
from gspo_lite.errors import UsageError
from gspo_lite.models.dense import dense_for_sampling
from gspo_lite.models.kinds import tokenizer_of
from gspo_lite.models.names import is_made_here, resolve_name
from gspo_lite.recipe.methods import method_at
from gspo_lite.recipe.schema import Credit, GuardSettings
from gspo_lite.rewards.contract.guarded import Call, calls
from gspo_lite.tools.guarded import Limits
from gspo_lite.training.arguments import as_config, as_dataset, check_arguments
from gspo_lite.training.checkpoint.saving import Checkpoints
from gspo_lite.training.episodes import Episodes, with_weights
from gspo_lite.training.fitness import keep_adapter_float32, refuse_frozen, refuse_plain_prompts, refuse_too_few_prompts
from gspo_lite.training.hooks import check_hooks
from gspo_lite.training.loss.rollout import OTHER_CLIPS, LeanRollout, rules_of
from gspo_lite.training.loss.stock import LEVEL, SequenceTokenLoss
from gspo_lite.training.loss.unsloth import UnslothTokenLoss, generated_module, install
from gspo_lite.training.oversample import Oversampler, refuse_oversampling
from gspo_lite.training.reference import keep_reference, learned_weights, restore
from gspo_lite.training.reward_functions import as_list, under_contract
from gspo_lite.training.sampling import end_at_every_token, suppress_placeholders
from gspo_lite.training.scoring import Scored, UnscoredRollouts, call_metrics, drop_rounding, give_turns, scored_rows
from gspo_lite.training.selftest import self_test
from gspo_lite.training.token_credit import TokenCredit, per_token
from gspo_lite.training.watch.gauges import RatioGauges
from gspo_lite.training.watch.guards import FiniteLoss, Guards
from gspo_lite.training.watch.held_out import HeldOut, Measure

USUAL_GUARDS = GuardSettings()
UNSLOTH = generated_module(GRPOTrainer)  # None if the trainer is stock TRL's
if UNSLOTH is not None:
    install(UNSLOTH)


class StockPath(LeanRollout, SequenceTokenLoss):
    """Mixins in front of stock TRL's trainer."""


LevelLoss: Any = StockPath if UNSLOTH is None else UnslothTokenLoss


class GSPOTrainer(HeldOut, Checkpoints, FiniteLoss, Episodes, LevelLoss, GRPOTrainer):
    """Train a language model with GSPO, GSPO-token or GRPO.

    Args:
        model: hub id, folder, GGUF file, `"smollm2"`, `"starter"` for the model built on this machine, or a loaded
            model.
        reward_funcs: one or more functions `f(completions, ...) -> list[float | None]`, each of which gets the columns
            of the data and TRL's other arguments that it takes.
        args: a `GSPOConfig`, or TRL's `GRPOConfig` with the values it has; the paper's settings if left out.
        train_dataset: rows with a `prompt` and the columns the rewards read; or a list of prompts or rows.
        eval_dataset: the same for `evaluate`, or several by name.
        processing_class: tokenizer or processor; the model's own if left out.
        credits: for each reward the part of a completion it is about, as `credit` in a recipe; level `sequence_token`
            only. `answer` is where the reward's `marker` says; else an answer tag, a box or a `####` line.
        credit_estimator: `rewards`, or `prefix_tree` for values of the prefixes that a group's completions share.
        gamma: share of what the next turn earns that a turn is paid for, where rewards return `Turns`.
        needs: what its checkpoints say they were made with.
        watchers: functions that each return a callback for this trainer, added in this order.
        guards: reactions when training goes wrong, as `training.guards` of a recipe: warnings, and a stop before a step
            whose loss or gradient is not finite, which TRL would take into the weights. None leaves them to TRL. Their
            callback is the last, so that the step they stop at is recorded.
        measure: returns held-out figures as `evaluate_greedy` does, in place of TRL's evaluation on `eval_dataset`.
        stop_early: patience in evaluations by `measure`, as `training.stop_early` of a recipe.
        note: receives warnings of the guards and the cause of an early end, as (step, kind, text, hint).
        strict: refuse settings that make GSPO another method, which otherwise only cause a warning: one optimizer step
            per rollout, an epsilon of GRPO's size, a loss summed over tokens.
        tool_limits: of the calls of tools and of an environment in each episode.
        measure_noise: compute every row and keep each log s in `gauges.kept`, for `gspo-lite probe`.
        options: further arguments of TRL's `GRPOTrainer`.

    Raises:
        UsageError: settings cannot work. MachineError: the installed trl or unsloth lacks a name that training needs,
            or does not compute the objective as `gspo_lite.objective` defines it.

    Attributes:
        self_test: relative gaps of loss and gradient between the installed loss and the definition, if there is one.
        rollout: the rows last trained on: problem_key, prompt, completion, answer, extracted, rewards, advantage.
        calls: the last call of each reward.
        per_token: ids and advantages (T,) of each row, if tokens differ.
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        *,
        credits: Sequence[Credit | None] | None = None,
        credit_estimator: str = "rewards",
        gamma: float = 0.0,
        needs: dict[str, Any] | None = None,
        watchers: Sequence[Callable[[Any], TrainerCallback]] = (),
        guards: GuardSettings | None = USUAL_GUARDS,
        measure: Measure | None = None,
        stop_early: int | None = None,
        note: Callable[..., None] | None = None,
        strict: bool = False,
        tool_limits: Limits | None = None,
        measure_noise: bool = False,
        **options: Any,
    ):
        args = as_config(args)
        train_dataset, eval_dataset = as_dataset(train_dataset), as_dataset(eval_dataset, "eval_dataset")
        columns = train_dataset.column_names if isinstance(train_dataset, Dataset) else None
        check_arguments(args, columns, strict=strict)
        refuse_oversampling(args, columns, unsloth=UNSLOTH is not None)
        check_hooks(GSPOTrainer)
        self.self_test = self_test(GSPOTrainer, args)
        model = resolve_name(model) if isinstance(model, str) and is_made_here(model) else model
        method = method_at(args.importance_sampling_level)  # for the model card, which is GRPO's in TRL
        self._name, self._tag_names = method.name, ["trl", method.tag]
        self._paper = {"title": method.paper.title, "id": method.paper.arxiv, "citation": method.paper.citation}
        known = None if options.get("rollout_func") else columns  # its own fields reach the rewards as well
        paid = self._turn_rewards(args, options, tool_limits, columns)
        reward_funcs = under_contract(
            as_list(reward_funcs), known, environments=bool(options.get("environment_factory"))
        )
        data = {"train_dataset": train_dataset, "eval_dataset": eval_dataset, "processing_class": processing_class}
        begun_with = learned_weights(model)
        args = with_weights(args, len(paid))
        super().__init__(model, [*reward_funcs, *paid], args=args, **data, **options)
        check_hooks(GSPOTrainer, self)
        self._begin_episodes(len(reward_funcs), len(paid))
        refuse_frozen(self.model)
        refuse_plain_prompts(self)
        refuse_too_few_prompts(self)
        self.rollout: list[dict[str, Any]] = []
        self.calls: list[Call] = []
        self.per_token: list[tuple[list[int], list[float]]] | None = None
        self.unscored = UnscoredRollouts(args.max_unscored_rollouts)
        self.oversampler = Oversampler(self, args.oversample) if args.oversample else None
        level, clips = args.importance_sampling_level, args.loss_type not in OTHER_CLIPS
        self.gauges = RatioGauges(level, args.epsilon, self.epsilon_high, clips, keep=measure_noise)
        self.layout = first_layout(getattr(one, "layout", None) for one in self.reward_funcs)
        self.token_credit = self._token_credit(credits, credit_estimator, gamma)
        self.row_rules = rules_of(self)
        if measure_noise and self.row_rules is not None:
            self.row_rules = replace(self.row_rules, drop=False)  # noise is in rows without an advantage, too
        keep_adapter_float32(self)
        restore(self.model, begun_with)
        keep_reference(self, begun_with)
        suppress_placeholders(self)
        end_at_every_token(self)
        self._begin_checkpoints(needs)
        self._begin_held_out(measure, stop_early, note)
        for watcher in watchers:
            self.add_callback(watcher(self))
        self.guards = None if guards is None else Guards(self, guards, note)
        if self.guards is not None:
            self.add_callback(self.guards)

    def _counters(self) -> dict[str, Any]:
        drawn = {} if self.oversampler is None else {"fresh_prompts": self.oversampler.prompts.drawn}
        return {"unscored_rollouts": self.unscored.in_a_row, **drawn}

    def _guard_counters(self) -> dict[str, Any]:
        return {} if self.guards is None else self.guards.counters()

    def _restore_counters(self, counters: dict[str, Any], guards: dict[str, Any]) -> None:
        self.unscored.in_a_row = counters["unscored_rollouts"]
        if self.oversampler is not None:
            self.oversampler.prompts.drawn = counters.get("fresh_prompts", 0)
        if self.guards is not None and guards:
            self.guards.restore(guards)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log TRL's metrics and the gauges of the sequence ratio, both of which are added to `logs`."""
        unmoved = (self.state.global_step - 1) % self.updates_per_rollout == 0
        figures = self.gauges.figures(unmoved) if self.model.training else {}
        if self.guards is not None and self.guards.not_applied:
            figures["gspo/steps_not_applied"] = float(self.guards.not_applied)
        logs.update(figures)
        super().log(logs, *args, **kwargs)

    def sampled(self, count: int) -> list[dict[str, Any]]:
        """Return the first rows of the last rollout; if tokens differ, with `token_advantages` [[start, end, A_it]].

        Conversations with tools have the advantage of each turn instead.
        """
        rows, credit = self.rollout[:count], self.token_credit
        if credit is None or self.per_token is None or self.tools:
            return rows
        pairs = zip(rows, self.per_token, strict=False)
        return [{**row, "token_advantages": credit.by_characters(*one, row["completion"])} for row, one in pairs]

    @property
    def updates_per_rollout(self) -> int:
        """Optimizer steps taken on one rollout."""
        passes = self.args.steps_per_generation * self.num_iterations
        return max(passes // self.args.gradient_accumulation_steps, 1)

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        with nullcontext() if self.use_vllm else dense_for_sampling(self.model):
            return super()._generate(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        output = self._scored(inputs)
        for name, value in call_metrics(self.calls).items():
            self._metrics["train"][name].append(value)
        self.unscored.take(self.rollout, self.reward_weights.tolist())
        if self.oversampler is not None:
            output, self.rollout = self.oversampler.filled(output, inputs)
        self.per_token = per_token(output)
        return output

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any, *rest: Any, **options: Any
    ) -> torch.Tensor:
        ids, completions = completion_ids_list, self._judged(completions, completion_ids_list)
        with calls() as heard:
            rewards: torch.Tensor = super()._calculate_rewards(inputs, prompts, completions, ids, *rest, **options)
        self._rewarded: Scored = Scored(list(inputs), list(completions), list(ids), rewards, heard)
        return rewards

    def _judged(self, completions: Sequence[Any], completion_ids: Sequence[Any]) -> list[Any]:
        """Return completions as they are judged and recorded, N."""
        decode = decoder(tokenizer_of(self.processing_class), self.layout, self._thoughts_opened(completions))
        return [as_judged(one, ids, decode) for one, ids in zip(completions, completion_ids, strict=True)]

    def _thoughts_opened(self, completions: Sequence[Any]) -> str:
        """Return what the chat template writes of each completion; nothing where it did not render the prompts."""
        if isinstance(completions[0], str) or self.processing_class.chat_template is None:
            return ""
        return thoughts_opened(self.processing_class, self.layout, self.chat_template_kwargs)

    def _scored(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Generate and score once for training; return the tensors and set `rollout` to the rows."""
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        scored = self._rewarded
        self.calls = scored.calls
        self.gauges.record_sampler(output)
        drop_rounding(self, scored.rewards, output)
        self.rollout = scored_rows(self, scored, output)
        if self.token_credit is not None:
            self._give_credit(self.token_credit, scored, output)
        if self.tools:
            give_turns(self, scored, output)
        return output

    def _token_credit(
        self, credits: Sequence[Credit | None] | None, estimator: str, gamma: float
    ) -> TokenCredit | None:
        """Return how advantages per token are computed; None at levels with one advantage per completion."""
        if self.importance_sampling_level != LEVEL:
            if credits is not None and any(credit is not None for credit in credits):
                raise UsageError("`credits` need advantages per token: importance_sampling_level `sequence_token`")
            return None
        credits = credits if credits is not None else [None] * self.own_rewards
        if len(credits) != self.own_rewards:
            raise UsageError(f"{len(credits)} `credits` for {self.own_rewards} rewards; give one for each")
        credits = [*credits, *[None] * (len(self.reward_funcs) - self.own_rewards)]
        layouts, weights = [getattr(one, "layout", None) for one in self.reward_funcs], self.reward_weights.tolist()
        scale, tokenizer = str(self.scale_rewards), tokenizer_of(self.processing_class)
        size, names = self.num_generations, self.reward_func_names
        return TokenCredit(credits, layouts, weights, size, scale, estimator, tokenizer, gamma, names)

    def _give_credit(self, credit: TokenCredit, scored: Scored, output: dict[str, Any]) -> None:
        """Replace the rollout's advantages (B,) by (B, T) if tokens of a completion differ."""
        rewards = np.array([[np.nan if v is None else v for v in row["rewards"].values()] for row in self.rollout])
        rows = zip(output["completion_ids"], output["completion_mask"].bool(), strict=True)
        ids, width = [row[mask].tolist() for row, mask in rows], output["completion_ids"].shape[1]
        parts = [completion_parts(completion, self.layout.thinking) for completion in scored.completions]
        own = None  # no tools: the model wrote every token
        if "tool_mask" in output:
            masks = zip(output["tool_mask"].bool(), output["completion_mask"].bool(), strict=True)
            own = [row[mask].tolist() for row, mask in masks]
        advantages = credit.advantages(rewards, scored.marks(self.reward_func_names), ids, width, parts, own)
        if advantages is not None:
            output["advantages"] = advantages.to(output["advantages"].device)
