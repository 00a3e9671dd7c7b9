"""The recipe as typed, frozen models: one description per field, unknown keys refused.

Owns the fields, their ranges and the values derived from single fields. Rules that hold between fields are in
`check.py`, reading YAML is in `load.py`. Imports no torch, so that `gspo-lite check` answers at once.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gspo_lite.completion.text import Marker

Text = Annotated[str, Field(min_length=1)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Tracker = Literal["none", "wandb", "trackio", "tensorboard"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
STYLE_MARKERS: dict[str, Marker] = {"think_answer": "tag", "boxed": "boxed", "plain": "gsm8k"}


class Settings(BaseModel):
    """Base of every part of a recipe: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


class LoraSettings(Settings):
    """The low-rank adapter that is trained."""

    rank: PositiveInt = Field(16, description="Rank of the adapter.")
    alpha: PositiveInt = Field(32, description="Scale of the adapter: its output is multiplied by alpha / rank.")
    dropout: Share = Field(0.0, description="Dropout inside the adapter; GRPO generates in train mode, so keep 0.")
    target_modules: Literal["all-linear"] | list[Text] = Field(
        "all-linear", description="Layers that get an adapter: `all-linear` or a list of module names."
    )


class ModelSettings(Settings):
    """Which language model is trained, and how it is loaded."""

    name: Text = Field(description="Hub id, local folder, or `starter` (built on this machine, no download).")
    backend: Literal["auto", "unsloth", "transformers"] = Field(
        "auto", description="`auto` takes Unsloth where it can run here, else transformers with PEFT."
    )
    load_in_4bit: bool = Field(
        True, description="Load the base model's weights as 4-bit NF4; with both this and load_in_8bit off, as `dtype`."
    )
    load_in_8bit: bool = Field(False, description="Load the base model's weights in 8 bits (LLM.int8).")
    full_finetuning: bool = Field(False, description="Train every weight, in float32, and no adapter.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Type of the base model's weights; `auto` is bfloat16 or float16 on a GPU, float32 on a CPU.",
    )
    max_seq_length: PositiveInt = Field(2048, description="Longest prompt plus completion, in tokens.")
    gpu_memory_utilization: Share = Field(0.6, description="Share of GPU memory that vLLM may take.")
    vllm_standby: bool = Field(
        False, description="Let vLLM inside Unsloth give its memory back while a step is trained; a little slower."
    )
    trust_remote_code: bool = Field(
        False, description="Run Python code that comes with the model. Off unless set here."
    )
    lora: LoraSettings = Field(LoraSettings(), description="The adapter that is trained.")


class Columns(Settings):
    """Names of the source's columns; every other column stays under its own name for the rewards."""

    prompt: Text = Field("prompt", description="Column with the question, a string or a list of messages.")
    answer: Text = Field("answer", description="Column with the right answer.")
    images: Text = Field("images", description="Column with an image or a list of them; ignored where absent.")


class EvalData(Settings):
    """The held-out problems that the model is measured on before and after training."""

    source: Text | None = Field(
        None, description="As data.source; the training source's own held-out split if left out."
    )
    split: Text = Field("test", description="Split of a hub dataset or of `arithmetic`; ignored for a local file.")
    limit: PositiveInt | None = Field(500, description="Use the first so many problems; null for all.")
    batch_size: PositiveInt = Field(64, description="Completions generated at a time.")


class DataSettings(Settings):
    """Where problems come from and how a prompt is made of each."""

    source: Text = Field(
        description="Hub id, local .jsonl / .csv / .parquet file, or an embedded task: `arithmetic`, `countdown`."
    )
    subset: Text | None = Field(
        None,
        description="Configuration of a hub dataset (gsm8k: `main`), or the difficulty of `arithmetic`: easy, hard.",
    )
    split: Text = Field("train", description="Split of a hub dataset or of `arithmetic`; ignored for a local file.")
    adapter: Text = Field(
        "columns",
        description="What makes a problem of a row: an adapter, `module:function` or `file.py:function`.",
    )
    columns: Columns = Field(Columns(), description="Names of the source's columns.")
    prompt: Literal["think_answer", "boxed", "plain"] = Field(
        "think_answer",
        description="Prompt style: think and answer tags, an answer in \\boxed{}, or the question alone.",
    )
    limit: PositiveInt | None = Field(None, description="Use the first so many problems; null for all.")
    bad_rows: Literal["stop", "skip"] = Field("stop", description="What to do about rows that cannot be used.")
    eval: EvalData = Field(EvalData(), description="The held-out problems.")

    @property
    def marker(self) -> Marker:
        """Where the answer stands in a completion of this prompt style; rewards, credit and evaluation follow it."""
        return STYLE_MARKERS[self.prompt]


class TailCredit(Settings):
    """Credit for the last tokens of a completion."""

    tail: PositiveInt = Field(description="Number of tokens at the end that the reward speaks about.")


class RegexCredit(Settings):
    """Credit for the text that a pattern matches."""

    regex: Text = Field(description="Regular expression; every match in the completion gets the credit.")


Credit = Literal["all", "answer", "think", "tags"] | TailCredit | RegexCredit


class RewardSettings(Settings):
    """One reward function and its weight in the sum."""

    name: Text = Field(description="A registered reward, `module:function` or `file.py:function`.")
    weight: Annotated[float, Field(allow_inf_nan=False)] = Field(
        1.0, description="Factor in the sum of rewards; 0 logs the reward without optimising it."
    )
    credit: Credit | None = Field(None, description="Tokens the reward speaks about; needs algorithm `gspo_token`.")
    timeout: PositiveFloat | None = Field(
        120.0,
        description="Seconds for one call, on all completions of a rollout; a call that takes longer scores None. Null "
        "is no limit, and the function then runs in the main thread.",
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop",
        description="What to do where it raises or returns what is no number: stop the run, or score those completions "
        "None and count them.",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Keyword options of the reward function.")


class ObjectiveSettings(Settings):
    """What is optimised. The algorithm sets importance_sampling_level and loss_type together."""

    algorithm: Literal["gspo", "gspo_token", "grpo"] = Field(description="Which objective is trained.")
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"] | None = Field(
        None,
        description="How tokens are averaged; left out: `grpo`, the mean over sequences of the mean over tokens. "
        "`cispo`, `sapo` and `vespo` are losses of their own, for algorithm `grpo`.",
    )
    epsilon: PositiveFloat = Field(description="Lower clip range of the ratio; the GSPO paper uses 3e-4, GRPO 0.2.")
    epsilon_high: PositiveFloat | None = Field(
        None, description="Upper clip range of the ratio; the GSPO paper uses 4e-4. Left out: the same as epsilon."
    )
    delta: PositiveFloat | None = Field(None, description="Second upper bound of the ratio (two-sided clip).")
    beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(0.0, description="Weight of the KL penalty.")
    use_bias_correction_kl: bool = Field(False, description="Multiply the KL penalty by the importance ratio.")
    scale_rewards: Literal["group", "batch", "none"] = Field(
        "group", description="What rewards are divided by: standard deviation of the group, of the batch, or nothing."
    )
    mask_truncated_completions: bool = Field(False, description="Leave cut-off completions out of the loss.")
    credit_estimator: Literal["rewards", "prefix_tree"] = Field(
        "rewards",
        description="Where advantages per token come from under `gspo_token`: the credit of each reward, or the mean "
        "reward of the group's completions that share a prefix.",
    )

    @property
    def importance_sampling_level(self) -> str:
        """TRL's name of the level that the algorithm stands for."""
        return {"gspo": "sequence", "gspo_token": "sequence_token", "grpo": "token"}[self.algorithm]

    @property
    def resolved_loss_type(self) -> str:
        """The loss type that is trained: the one given, else the algorithm's own."""
        return self.loss_type or "grpo"


class GenerationSettings(Settings):
    """How completions are sampled."""

    engine: Literal["auto", "vllm", "transformers"] = Field("auto", description="`auto` takes vLLM where it can run.")
    num_generations: Annotated[int, Field(ge=2)] = Field(8, description="Completions per prompt, the group.")
    max_prompt_length: PositiveInt = Field(512, description="Longest prompt in tokens; longer ones are refused.")
    max_completion_length: PositiveInt = Field(512, description="Longest completion in tokens.")
    temperature: PositiveFloat = Field(1.0, description="Sampling temperature.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Nucleus sampling; 1 is off.")
    top_k: Annotated[int, Field(ge=0)] = Field(0, description="Sample from the k likeliest tokens; 0 is off.")
    min_p: Share | None = Field(None, description="Leave out tokens below this share of the likeliest; null is off.")
    repetition_penalty: PositiveFloat = Field(1.0, description="Penalty for tokens seen before; 1 is off.")
    oversample: Annotated[int, Field(ge=0, le=100)] = Field(
        0,
        description="Dynamic sampling as in DAPO, but bounded: at most so many extra rounds per rollout, in each of "
        "which groups whose completions are all paid alike make room for groups of fresh prompts. 0 is off.",
    )


Action = Literal["warn", "stop", "rollback"]


class GuardSettings(Settings):
    """What is done when training goes wrong: say so, end the run, or go back to the newest checkpoint's weights."""

    non_finite: Action = Field(
        "stop", description="Loss, gradient or weight is NaN or infinite; a step like that is never applied."
    )
    flat_reward: Action = Field("warn", description="All completions of a rollout get the same reward.")
    no_variance: Action = Field("warn", description="No group has two completions with different rewards.")
    truncated: Action = Field("warn", description="Nine of ten completions are cut off at the length limit.")
    entropy_gone: Action = Field("warn", description="The model is certain of every token.")
    ratio_explosion: Action = Field("warn", description="The policy moves far beyond the clip, three steps in a row.")
    repeated_text: Action = Field("warn", description="Most completions repeat one phrase over and over.")
    rollouts: PositiveInt = Field(8, description="Rollouts in a row that a sign must last before it counts.")


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
    optim: Text = Field("adamw_torch", description="Optimizer, by transformers' name.")
    per_device_train_batch_size: PositiveInt = Field(8, description="Completions per forward and backward pass.")
    gradient_accumulation_steps: PositiveInt = Field(1, description="Passes per optimizer step.")
    steps_per_generation: PositiveInt = Field(4, description="Passes per rollout; a rollout is this many batches.")
    num_iterations: PositiveInt = Field(1, description="Times each rollout is gone through.")
    gradient_checkpointing: bool = Field(True, description="Save memory by computing activations twice.")
    seed: Annotated[int, Field(ge=0)] = Field(42, description="Seed of data order, adapter and sampling.")
    max_unscored_rollouts: PositiveInt | None = Field(
        3, description="Stop after so many rollouts in a row that no reward could judge; null never stops."
    )
    save_steps: PositiveInt | None = Field(None, description="Checkpoint every so many steps; null saves none.")
    guards: GuardSettings = Field(GuardSettings(), description="What is done when training goes wrong.")
    extra: dict[str, Any] = Field(default_factory=dict, description="Any further field of TRL's GRPOConfig.")

    @property
    def updates_per_rollout(self) -> float:
        """Optimizer steps taken on one rollout; with exactly 1, GSPO's gradient is GRPO's."""
        return self.num_iterations * self.steps_per_generation / self.gradient_accumulation_steps

    @property
    def rollout_size(self) -> int:
        """Completions per rollout."""
        return self.per_device_train_batch_size * self.steps_per_generation


class WarmupSettings(Settings):
    """Supervised steps before RL on worked examples, to teach a form that sampling would hardly ever find."""

    completion: Text = Field(
        description="What the model should write, with columns in braces, as in <answer>{answer}</answer>."
    )
    source: Text | None = Field(None, description="As data.source; the training problems themselves if left out.")
    split: Text = Field("train", description="Split of a hub dataset; ignored for a local file.")
    limit: PositiveInt | None = Field(64, description="Use the first so many examples; null for all.")
    max_steps: PositiveInt = Field(description="Optimizer steps of the warm-up.")
    learning_rate: PositiveFloat = Field(1e-4, description="Learning rate of the warm-up.")
    per_device_train_batch_size: PositiveInt = Field(8, description="Examples per step.")


class OutputSettings(Settings):
    """Where results go."""

    dir: Text = Field(description="The run folder.")
    if_exists: Literal["raise", "resume", "overwrite"] = Field(
        "raise", description="What to do when the run folder holds a run."
    )
    report_to: list[Tracker] = Field(["none"], description="Trackers that metrics are sent to.")
    save_total_limit: PositiveInt = Field(2, description="Checkpoints kept.")
    completions_per_step: Annotated[int, Field(ge=0)] = Field(
        4, description="Sampled completions written to completions.jsonl at each rollout."
    )


class Recipe(Settings):
    """A whole run: model, data, rewards, objective, generation, training and output."""

    model: ModelSettings
    data: DataSettings
    rewards: Annotated[list[RewardSettings], Field(min_length=1)]
    objective: ObjectiveSettings
    generation: GenerationSettings = GenerationSettings()
    warmup: WarmupSettings | None = Field(None, description="Supervised steps before RL; left out: none.")
    training: TrainingSettings
    output: OutputSettings
