"""The recipe as typed, frozen models: one description per field, unknown keys refused. Imports no torch.

Owns the fields, their ranges and the values derived from single fields. Rules between fields are in `check.py`; YAML is
read in `load.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from gspo_lite.recipe.data_settings import DataSettings
from gspo_lite.recipe.fields import PositiveFloat, PositiveInt, Settings, Share, Text
from gspo_lite.recipe.methods import METHODS
from gspo_lite.recipe.model_settings import ModelSettings
from gspo_lite.recipe.tool_settings import Environment, Tool

Tracker = Literal["none", "wandb", "trackio", "tensorboard"]


class TailCredit(Settings):
    """Credit for the last tokens of a completion."""

    tail: PositiveInt = Field(description="Number of tokens at the end that the reward applies to.")


class RegexCredit(Settings):
    """Credit for the text that a pattern matches."""

    regex: Text = Field(description="Regular expression; every match in the completion gets the credit.")


class TurnCredit(Settings):
    """Credit for one of the model's own turns, in a conversation with tools or an environment."""

    turn: Literal["first", "last", "all"] | PositiveInt = Field(description="Number of the turn, from 1, or its name.")


Credit = Literal["all", "answer", "think", "tags"] | TailCredit | RegexCredit | TurnCredit


class RewardSettings(Settings):
    """One reward function and its weight in the sum."""

    name: Text = Field(description="A registered reward, `module:function` or `file.py:function`.")
    weight: Annotated[float, Field(allow_inf_nan=False)] = Field(
        1.0, description="Factor in the sum of rewards; 0 logs the reward without optimizing it."
    )
    credit: Credit | None = Field(None, description="Tokens that the reward applies to; needs algorithm `gspo_token`.")
    timeout: PositiveFloat | None = Field(
        120.0, description="Seconds for a call on a rollout, else all score None. Null: no limit, in the main thread."
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="If it raises or does not return a number: stop the run, or score None and count."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Keyword options of the function, or its maker.")


class ObjectiveSettings(Settings):
    """The objective. The algorithm sets importance_sampling_level and loss_type together."""

    algorithm: Literal["gspo", "gspo_token", "grpo"] = Field(description="The objective to optimize.")
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"] | None = Field(
        None,
        description="How tokens are averaged. Default: `grpo`, the mean over sequences of the mean over tokens. "
        "`cispo`, `sapo` and `vespo` are other losses, for algorithm `grpo`.",
    )
    epsilon: PositiveFloat = Field(description="Lower clip range of the ratio; the GSPO paper uses 3e-4, GRPO 0.2.")
    epsilon_high: PositiveFloat | None = Field(
        None, description="Upper clip range of the ratio; the GSPO paper uses 4e-4. Default: the same as epsilon."
    )
    delta: PositiveFloat | None = Field(None, description="Second upper bound of the ratio (two-sided clip).")
    beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0, description="Weight of the KL penalty to the model that RL begins with, adapter and warm-up included."
    )
    use_bias_correction_kl: bool = Field(False, description="Multiply the KL penalty by the importance ratio.")
    scale_rewards: Literal["group", "batch", "none"] = Field(
        "group", description="Standard deviation that divides advantages: of the group, of the batch, or none."
    )
    mask_truncated_completions: bool = Field(False, description="Leave cut-off completions out of the loss.")
    credit_estimator: Literal["rewards", "prefix_tree"] = Field(
        "rewards", description="Source of token advantages: the rewards' credit, or completions that share a prefix."
    )

    gamma: Share = Field(0.0, description="Share of what the next turn earns that a turn is paid for, as an agent's.")

    @property
    def importance_sampling_level(self) -> str:
        """TRL's name for the algorithm's level of importance sampling."""
        return METHODS[self.algorithm].level

    @property
    def resolved_loss_type(self) -> str:
        """The loss type that is used: the given one, else the default `grpo`."""
        return self.loss_type or "grpo"


class GenerationSettings(Settings):
    """How completions are sampled."""

    engine: Literal["auto", "vllm", "transformers"] = Field("auto", description="`auto` uses vLLM if it can run here.")
    num_generations: Annotated[int, Field(ge=2)] = Field(8, description="Completions per prompt, which form a group.")
    max_prompt_length: PositiveInt = Field(512, description="Longest prompt in tokens; longer ones are refused.")
    max_completion_length: PositiveInt = Field(512, description="Longest completion in tokens.")
    temperature: PositiveFloat = Field(1.0, description="Sampling temperature.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Nucleus sampling; 1 is off.")
    top_k: Annotated[int, Field(ge=0)] = Field(0, description="Sample from the k likeliest tokens; 0 is off.")
    min_p: Share | None = Field(None, description="Leave out tokens below this share of the likeliest; null is off.")
    repetition_penalty: PositiveFloat = Field(1.0, description="Penalty for tokens seen before; 1 is off.")
    sample_factor: Annotated[int, Field(ge=1, le=16)] = Field(
        1,
        description="Prompts sampled in one call, as a multiple of those a rollout trains on. Groups whose completions "
        "have different rewards are trained on first, the rest is dropped. 1 is off.",
    )
    max_turns: PositiveInt | None = Field(
        None, description="Messages of the model in one conversation with tools; null is no limit."
    )
    max_tool_calls: PositiveInt = Field(32, description="Calls of all tools in one conversation; more are refused.")
    tool_timeout: PositiveFloat | None = Field(
        30.0, description="Seconds for a call of a tool, else the model is told. Null: no limit, in the main thread."
    )


Action = Literal["warn", "stop", "rollback"]


class GuardSettings(Settings):
    """What to do when training goes wrong: warn, end the run, or restore the weights of the newest checkpoint."""

    non_finite: Action = Field("stop", description="A loss, gradient or weight is not finite; the step is not applied.")
    empty_completions: Action = Field("warn", description="Nine of ten completions have no text.")
    flat_reward: Action = Field("warn", description="All completions of a rollout get the same reward.")
    no_variance: Action = Field("warn", description="No group has two completions with different rewards.")
    truncated: Action = Field("warn", description="Nine of ten completions are cut off at the length limit.")
    entropy_gone: Action = Field("warn", description="The model is certain of every token.")
    ratio_explosion: Action = Field("warn", description="The policy moves far beyond the clip, three steps in a row.")
    no_effect: Action = Field("warn", description="Nearly all that has an advantage is clipped, six steps in a row.")
    repeated_text: Action = Field("warn", description="Most completions repeat one phrase over and over.")
    rollouts: PositiveInt = Field(8, description="Rollouts in a row that must show a sign before it counts.")


class TrainingSettings(Settings):
    """Batches, steps and the optimizer."""

    max_steps: PositiveInt = Field(description="Optimizer steps.")
    learning_rate: PositiveFloat = Field(1e-6, description="Peak learning rate.")
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        "constant_with_warmup", description="How the learning rate changes over the steps."
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(0, description="Steps over which the learning rate rises.")
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(0.0, description="Weight decay.")
    max_grad_norm: PositiveFloat = Field(1.0, description="Gradients are scaled down to this norm.")
    optim: Text = Field("adamw_torch", description="Optimizer, as transformers names it.")
    per_device_train_batch_size: PositiveInt = Field(8, description="Completions per forward and backward pass.")
    gradient_accumulation_steps: PositiveInt = Field(1, description="Passes per optimizer step.")
    steps_per_generation: PositiveInt = Field(4, description="Passes per rollout: a rollout has this many batches.")
    num_iterations: PositiveInt = Field(1, description="Number of passes over each rollout.")
    gradient_checkpointing: bool = Field(True, description="Save memory by recomputing activations.")
    seed: Annotated[int, Field(ge=0)] = Field(42, description="Seed of data order, adapter and sampling.")
    max_unscored_rollouts: PositiveInt | None = Field(
        3, description="Stop after so many rollouts in a row without a score, or never."
    )
    save_steps: PositiveInt | None = Field(None, description="Steps between checkpoints; null saves none.")
    eval_steps: PositiveInt | None = Field(
        None, description="Steps between greedy evaluations on data.eval.during_training problems; null is none."
    )
    stop_early: PositiveInt | None = Field(
        None,
        description="End training after so many evaluations without a new best, or sooner if the reward rises while "
        "held-out accuracy falls; null never does. Needs eval_steps.",
    )
    guards: GuardSettings = Field(GuardSettings(), description="What to do when training goes wrong.")
    extra: dict[str, Any] = Field(default_factory=dict, description="Other fields of TRL's GRPOConfig.")

    @property
    def updates_per_rollout(self) -> float:
        """Optimizer steps taken on one rollout; with exactly 1, GSPO's gradient is GRPO's."""
        return self.num_iterations * self.steps_per_generation / self.gradient_accumulation_steps

    @property
    def rollout_size(self) -> int:
        """Completions per rollout."""
        return self.per_device_train_batch_size * self.steps_per_generation


class WarmupSettings(Settings):
    """Supervised steps on worked examples before RL, to teach a form that sampling would hardly ever find."""

    completion: Text = Field(description="Text to learn, with columns in braces, as in <answer>{answer}</answer>.")
    source: Text | None = Field(None, description="As data.source; if left out, the training problems.")
    split: Text = Field("train", description="Split of a hub dataset; ignored for a local file.")
    limit: PositiveInt | None = Field(64, description="Number of examples to use, from the first; null for all.")
    max_steps: PositiveInt = Field(description="Optimizer steps of the warm-up.")
    learning_rate: PositiveFloat = Field(1e-4, description="Learning rate of the warm-up.")
    per_device_train_batch_size: PositiveInt = Field(8, description="Examples per step.")


class OutputSettings(Settings):
    """Where results are written."""

    dir: Text = Field(description="The run folder.")
    if_exists: Literal["raise", "resume", "overwrite"] = Field("raise", description="What to do if `dir` holds a run.")
    report_to: list[Tracker] = Field(["none"], description="Trackers that receive the metrics.")
    save_total_limit: PositiveInt | None = Field(2, description="Number of checkpoints to keep; null keeps all.")
    keep_best: bool = Field(
        False,
        description="Save the adapter of the step with the highest accuracy at training.eval_steps, the earliest of "
        "equals, instead of the last. Its checkpoint is kept whatever save_total_limit says.",
    )
    completions_per_step: Annotated[int, Field(ge=0)] = Field(4, description="Completions logged from each rollout.")


class Recipe(Settings):
    """A whole run: model, data, tools, rewards, objective, generation, training and output."""

    model: ModelSettings
    data: DataSettings
    tools: list[Tool] = Field(
        default_factory=list,
        description="Functions that the model may call: `file.py:function`, `module:function`, or {name, timeout}.",
    )
    environment: Environment | None = Field(
        None,
        description="Class whose public methods the model may call, `file.py:Class` or `module:Class`; or several by "
        "name, of which the column `environment` of the data chooses.",
    )
    rewards: list[RewardSettings] = Field(
        default_factory=list, description="Reward functions; may be left out where the environment pays."
    )
    objective: ObjectiveSettings
    generation: GenerationSettings = GenerationSettings()
    warmup: WarmupSettings | None = Field(None, description="Supervised steps before RL; none if left out.")
    training: TrainingSettings
    output: OutputSettings

    @property
    def plays(self) -> bool:
        """Whether completions are conversations with tools or an environment."""
        return bool(self.tools) or self.environment is not None

    @property
    def environments(self) -> dict[str | None, str]:
        """The environments' code by the name that the data chooses them with; None names a single one."""
        named = self.environment if isinstance(self.environment, dict) else {None: self.environment}
        return {name: code for name, code in named.items() if code is not None}
