"""Rules that hold between fields of a recipe, each with its reason. No heavy import: nothing here takes time.

A rule is a generator of problems; `RULES` lists them. What a single field may hold is in `schema.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from gspo_lite.errors import Place
from gspo_lite.recipe.schema import Recipe, RegexCredit
from gspo_lite.system.redaction import is_secret

TOKEN_SUMMED = ("dapo", "bnpo", "dr_grpo")
OTHER_LOSSES = ("cispo", "sapo", "vespo")  # weigh ratios in a way of their own
GSPO_EPSILON_MAX = 0.02  # the paper's is 3e-4; a sequence ratio hardly ever leaves a range above this
GRPO_EPSILON_MIN = 0.01  # a token ratio leaves a narrower range all the time
SHORT_COMPLETION = 64  # tokens that a `think_answer` completion needs at the very least

# Fields of TRL's configuration that a key of the recipe sets already.
OWNED = {
    "importance_sampling_level": "objective.algorithm", "loss_type": "objective.loss_type",
    "epsilon": "objective.epsilon", "epsilon_high": "objective.epsilon_high", "delta": "objective.delta",
    "beta": "objective.beta", "use_bias_correction_kl": "objective.use_bias_correction_kl",
    "scale_rewards": "objective.scale_rewards", "reward_weights": "rewards",
    "mask_truncated_completions": "objective.mask_truncated_completions",
    "num_generations": "generation.num_generations", "max_completion_length": "generation.max_completion_length",
    "temperature": "generation.temperature", "top_p": "generation.top_p", "top_k": "generation.top_k",
    "min_p": "generation.min_p", "repetition_penalty": "generation.repetition_penalty",
    "oversample": "generation.oversample",
    "use_vllm": "generation.engine", "vllm_mode": "generation.engine",
    "vllm_gpu_memory_utilization": "model.gpu_memory_utilization", "bf16": "model.dtype", "fp16": "model.dtype",
    "output_dir": "output.dir", "report_to": "output.report_to", "save_total_limit": "output.save_total_limit",
    "run_name": "output.dir", "max_steps": "training.max_steps", "save_steps": "training.save_steps",
    "learning_rate": "training.learning_rate", "lr_scheduler_type": "training.lr_scheduler_type",
    "warmup_steps": "training.warmup_steps", "weight_decay": "training.weight_decay",
    "max_grad_norm": "training.max_grad_norm", "optim": "training.optim", "seed": "training.seed",
    "per_device_train_batch_size": "training.per_device_train_batch_size",
    "gradient_accumulation_steps": "training.gradient_accumulation_steps",
    "steps_per_generation": "training.steps_per_generation", "generation_batch_size": "training.steps_per_generation",
    "num_iterations": "training.num_iterations", "max_unscored_rollouts": "training.max_unscored_rollouts",
    "gradient_checkpointing": "training.gradient_checkpointing",
}  # fmt: skip
SERVER = "vllm_server_"  # TRL's fields that say where a vLLM server is
FIXED = ("logging_steps", "disable_tqdm", "save_strategy", "use_cpu", "resume_from_checkpoint")


@dataclass(frozen=True)
class Problem:
    """Something about a key that stops a recipe, or that its user should know."""

    place: Place
    message: str
    severity: Literal["error", "warning"] = "error"


def check_recipe(recipe: Recipe) -> list[Problem]:
    """Every problem that the rules between fields find."""
    return [problem for rule in RULES for problem in rule(recipe)]


def gspo_must_be_off_policy(recipe: Recipe) -> Iterator[Problem]:
    training = recipe.training
    if recipe.objective.algorithm != "grpo" and training.updates_per_rollout == 1:
        yield Problem(
            ("training", "steps_per_generation"),
            "GSPO has no effect with one optimizer step per rollout: every ratio is 1 and the gradient is GRPO's. Set "
            f"steps_per_generation to {4 * training.gradient_accumulation_steps} (4 steps, as in the paper), or "
            "objective.algorithm to `grpo`",
        )


def a_sequence_counts_once(recipe: Recipe) -> Iterator[Problem]:
    objective = recipe.objective
    if objective.algorithm == "grpo":
        return
    place, name = ("objective", "loss_type"), f"`{objective.loss_type}`"
    if objective.loss_type in TOKEN_SUMMED:
        message = "sums over tokens, so that long completions outweigh short ones, which undoes GSPO's one ratio per"
        yield Problem(place, f"{name} {message} sequence. Set it to `grpo`")
    if objective.loss_type in OTHER_LOSSES:
        yield Problem(place, f"{name} replaces GSPO's clip. Set it to `grpo`, or objective.algorithm to `grpo`")
    if objective.loss_type == "luspo" and objective.algorithm == "gspo_token":
        yield Problem(place, "`luspo` is defined for `gspo` only. Set it to `grpo`")


def epsilon_fits_the_ratio(recipe: Recipe) -> Iterator[Problem]:
    objective = recipe.objective
    gspo = objective.algorithm != "grpo"
    for name in ("epsilon", "epsilon_high"):
        value = getattr(objective, name)
        if value is None:
            continue
        if gspo and value > GSPO_EPSILON_MAX:
            yield Problem(
                ("objective", name),
                f"{value:g} is of GRPO's size; a sequence ratio stays so near to 1 that this clip would never act. The "
                "paper uses epsilon 3.0e-4 and epsilon_high 4.0e-4",
            )
        if not gspo and value < GRPO_EPSILON_MIN:
            yield Problem(
                ("objective", name),
                f"{value:g} is of GSPO's size; nearly every token would be clipped under `grpo`. 0.2 is usual",
            )
    if objective.epsilon_high is not None and objective.epsilon_high < objective.epsilon:
        message = "is below epsilon: good answers are held back more than bad ones"
        yield Problem(("objective", "epsilon_high"), message, "warning")
    if objective.loss_type == "cispo" and (objective.epsilon_high or objective.epsilon) < 1:
        message = "`cispo` cuts the ratio itself off there, so below 1 it cuts every ratio. Set it to 5 or so"
        yield Problem(("objective", "epsilon_high"), message)
    if objective.delta is not None and objective.loss_type in OTHER_LOSSES:
        yield Problem(("objective", "delta"), f"has no effect on `{objective.loss_type}`; leave it out")
    elif objective.delta is not None and objective.delta <= 1 + (objective.epsilon_high or objective.epsilon):
        message = f"{objective.delta:g} must be above 1 + epsilon_high, or it takes the place of the clip. 2 is usual"
        yield Problem(("objective", "delta"), message)


def batches_hold_whole_groups(recipe: Recipe) -> Iterator[Problem]:
    training, generation = recipe.training, recipe.generation
    if training.steps_per_generation % training.gradient_accumulation_steps:
        yield Problem(
            ("training", "steps_per_generation"),
            f"{training.steps_per_generation} must be a multiple of gradient_accumulation_steps, "
            f"{training.gradient_accumulation_steps}, or an optimizer step mixes two rollouts",
        )
    if training.rollout_size % generation.num_generations:
        yield Problem(
            ("generation", "num_generations"),
            f"{generation.num_generations} must divide the rollout, per_device_train_batch_size x "
            f"steps_per_generation = {training.rollout_size}",
        )
    elif training.per_device_train_batch_size % generation.num_generations:
        batch = training.per_device_train_batch_size
        yield Problem(
            ("training", "per_device_train_batch_size"),
            f"{batch} is no multiple of num_generations, {generation.num_generations}; Unsloth would silently set it "
            "to num_generations",
            "error" if recipe.model.backend == "unsloth" else "warning",
        )


def lengths_fit(recipe: Recipe) -> Iterator[Problem]:
    generation, model = recipe.generation, recipe.model
    needed = generation.max_prompt_length + generation.max_completion_length
    if needed > model.max_seq_length:
        yield Problem(
            ("model", "max_seq_length"),
            f"{model.max_seq_length} is less than max_prompt_length + max_completion_length = {needed}",
        )
    short = generation.max_completion_length < SHORT_COMPLETION and model.name != "starter"
    if recipe.data.prompt == "think_answer" and short:
        yield Problem(
            ("generation", "max_completion_length"),
            f"{generation.max_completion_length} tokens cut most `think_answer` completions before their answer; "
            f"give at least {SHORT_COMPLETION}",
            "warning",
        )


def credit_needs_tokens(recipe: Recipe) -> Iterator[Problem]:
    for index, reward in enumerate(recipe.rewards):
        if isinstance(reward.credit, RegexCredit):
            try:
                re.compile(reward.credit.regex)
            except re.error as error:
                yield Problem(("rewards", index, "credit", "regex"), f"is no regular expression: {error}")
        if reward.credit is not None and recipe.objective.algorithm != "gspo_token":
            yield Problem(
                ("rewards", index, "credit"),
                f"credit speaks about tokens, and `{recipe.objective.algorithm}` gives all tokens of a completion the "
                "same advantage. Set objective.algorithm to `gspo_token`, or leave credit out",
            )


def prefixes_need_tokens(recipe: Recipe) -> Iterator[Problem]:
    if recipe.objective.credit_estimator == "rewards":
        return
    place = ("objective", "credit_estimator")
    if recipe.objective.algorithm != "gspo_token":
        yield Problem(place, "`prefix_tree` makes advantages per token; it needs objective.algorithm `gspo_token`")
    if any(reward.credit is not None for reward in recipe.rewards):
        yield Problem(place, "`prefix_tree` takes the place of the rewards' credit; leave one of them out")


def rewards_add_up(recipe: Recipe) -> Iterator[Problem]:
    weights = [reward.weight for reward in recipe.rewards]
    if sum(weights) == 0:
        yield Problem(("rewards",), "the weights sum to 0; at least one reward must be optimised")
    names = Counter(reward.name for reward in recipe.rewards)
    for index, reward in enumerate(recipe.rewards):
        if names[reward.name] > 1:
            yield Problem(("rewards", index, "name"), f"`{reward.name}` stands {names[reward.name]} times in the list")


def extra_is_extra(recipe: Recipe) -> Iterator[Problem]:
    for name in recipe.training.extra:
        place = ("training", "extra", name)
        if name in OWNED:
            yield Problem(place, f"is set by `{OWNED[name]}`; give it there")
        elif is_secret(name):
            yield Problem(place, "a recipe is kept with the run, so no place for a secret; set the variable HF_TOKEN")
        elif name in FIXED:
            yield Problem(place, "is set by gspo-lite itself and cannot be changed")
        elif name.startswith(SERVER) and (recipe.model.backend, recipe.generation.engine) != ("transformers", "vllm"):
            message = "a vLLM server works for TRL's own trainer: it needs backend `transformers`, engine"
            yield Problem(place, f"{message} `vllm`")
        elif name == "use_liger_kernel" and recipe.objective.algorithm == "gspo_token":
            yield Problem(place, "Liger computes its own loss, which has no GSPO-token. Leave it out, or use `gspo`")


def has_server(recipe: Recipe) -> bool:
    """Whether completions come from a vLLM server that runs by itself (`trl vllm-serve`)."""
    return any(name.startswith(SERVER) for name in recipe.training.extra)


def what_costs_or_may_lack(recipe: Recipe) -> Iterator[Problem]:
    if recipe.model.lora.dropout > 0:
        message = "GRPO generates in train mode, so dropout makes the sampler another model than the one trained"
        yield Problem(("model", "lora", "dropout"), message, "warning")
    if recipe.generation.engine == "vllm" and find_spec("vllm") is None:
        message = "vLLM is not installed here; `auto` falls back to transformers"
        yield Problem(("generation", "engine"), message, "warning")
    if "none" in recipe.output.report_to and len(recipe.output.report_to) > 1:
        yield Problem(("output", "report_to"), "`none` goes with no other tracker")


def one_kind_of_weights(recipe: Recipe) -> Iterator[Problem]:
    model = recipe.model
    if model.load_in_8bit and model.load_in_4bit:
        yield Problem(("model", "load_in_8bit"), "goes with load_in_4bit: false; weights have one width")
    for name in ("load_in_4bit", "load_in_8bit"):
        if model.full_finetuning and getattr(model, name):
            message = f"trains every weight, and quantized ones cannot be trained. Set {name} to false"
            yield Problem(("model", "full_finetuning"), message)
    if model.vllm_standby and (model.backend == "transformers" or recipe.generation.engine == "transformers"):
        message = "is about vLLM inside Unsloth; it needs backend and generation.engine `auto`, `unsloth` and `vllm`"
        yield Problem(("model", "vllm_standby"), message)


def vllm_takes_the_weights(recipe: Recipe) -> Iterator[Problem]:
    model, place = recipe.model, ("generation", "engine")
    if recipe.generation.engine != "vllm":
        return
    if model.backend == "transformers" and (model.load_in_4bit or model.load_in_8bit):
        message = (
            "`vllm` beside TRL cannot read quantized weights. Set model.load_in_4bit to false, model.backend to "
            "`unsloth`, or generation.engine to `auto`"
        )
        yield Problem(place, message, "warning")  # what the machine lacks for it comes first, from the engine table
    if model.backend == "unsloth" and model.full_finetuning:
        yield Problem(place, "`vllm` inside Unsloth needs an adapter. Set model.full_finetuning to false")


def groups_can_be_swapped(recipe: Recipe) -> Iterator[Problem]:
    place = ("generation", "oversample")
    if recipe.generation.oversample == 0:
        return
    if recipe.model.backend == "unsloth":
        message = "Unsloth's trainer cannot join two generations. Set it to 0, or model.backend to `transformers`"
        yield Problem(place, message)
    if recipe.objective.scale_rewards == "batch":
        message = "scale_rewards `batch` divides by the spread of one generation. Set it to `group` or `none`"
        yield Problem(place, message)


RULES = (
    one_kind_of_weights, vllm_takes_the_weights, groups_can_be_swapped,
    gspo_must_be_off_policy, a_sequence_counts_once, epsilon_fits_the_ratio, batches_hold_whole_groups, lengths_fit,
    credit_needs_tokens, prefixes_need_tokens, rewards_add_up, extra_is_extra, what_costs_or_may_lack,
)  # fmt: skip


def check_paths(recipe: Recipe, home: Path) -> list[Problem]:
    """Paths in a recipe that leave the tree: the current folder, or the recipe's own folder `home`."""
    data = recipe.data
    named: list[tuple[Place, str | None]] = [(("output", "dir"), recipe.output.dir)]
    named += [(("data", "source"), data.source), (("data", "eval", "source"), data.eval.source)]
    named += [(("model", "name"), recipe.model.name)]
    named += [(("warmup", "source"), recipe.warmup.source)] if recipe.warmup else []
    code: list[tuple[Place, str]] = [(("rewards", i, "name"), one.name) for i, one in enumerate(recipe.rewards)]
    code.append((("data", "adapter"), data.adapter))
    named += [(place, name.rpartition(":")[0]) for place, name in code if ".py:" in name]
    inside = [Path.cwd().resolve(), home.resolve()]
    found = []
    for place, name in named:
        if name is None:
            continue
        path = Path(name).expanduser()
        target = path.resolve()
        if (path.exists() or place[0] == "output") and not any(target.is_relative_to(root) for root in inside):
            message = f"`{name}` leaves the current folder and the recipe's own. Add --allow-outside to run it all the "
            found.append(Problem(place, message + "same, or give the path by --set"))
    return found
