"""Rules between the fields of a recipe, each with its reason; `schema.py` has the rules for single fields.

A rule is a generator of problems; `RULES` lists them. Imports nothing heavy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec

from gspo_lite.completion.patterns import compiled
from gspo_lite.recipe.data_settings import STYLE_MARKERS
from gspo_lite.recipe.extra import extra_is_extra
from gspo_lite.recipe.problem import Problem, Severity
from gspo_lite.recipe.schema import Recipe, RegexCredit, TurnCredit

TOKEN_SUMMED = ("dapo", "bnpo", "dr_grpo")
OTHER_LOSSES = ("cispo", "sapo", "vespo")  # replace the clip by another treatment of the ratio
GSPO_EPSILON_MAX = 0.02  # the paper uses 3e-4; sequence ratios hardly ever leave a wider range
GRPO_EPSILON_MIN = 0.01  # token ratios leave a narrower range all the time
# Arguments of transformers' apply_chat_template that are not variables of a template.
RENDERING = (
    "conversation", "messages", "tools", "chat_template", "add_generation_prompt", "continue_final_message", "tokenize",
    "padding", "truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask",
    "tokenizer_kwargs", "processor_kwargs",
)  # fmt: skip
SHORT_COMPLETION = 64  # tokens that a `think_answer` completion needs at least


def check_recipe(recipe: Recipe) -> list[Problem]:
    """Return every problem that the rules between fields find."""
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
        message = "sums over tokens: long completions outweigh short ones, although GSPO has one ratio per sequence"
        yield Problem(place, f"{name} {message}. Set it to `grpo`")
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
            message = f"{value:g} is of GRPO's size; it would never clip, because sequence ratios stay so close to 1."
            yield Problem(("objective", name), f"{message} The paper uses epsilon 3.0e-4 and epsilon_high 4.0e-4")
        if not gspo and value < GRPO_EPSILON_MIN:
            message = f"{value:g} is of GSPO's size; nearly every token would be clipped under `grpo`. 0.2 is usual"
            yield Problem(("objective", name), message)
    if objective.epsilon_high is not None and objective.epsilon_high < objective.epsilon:
        message = "is below epsilon, so good answers are clipped sooner than bad ones"
        yield Problem(("objective", "epsilon_high"), message, "warning")
    if objective.loss_type == "cispo" and (objective.epsilon_high or objective.epsilon) < 1:
        message = "`cispo` caps the ratio itself at this value, so below 1 it cuts every ratio. Set it to about 5"
        yield Problem(("objective", "epsilon_high"), message)
    if objective.delta is not None and objective.loss_type in OTHER_LOSSES:
        yield Problem(("objective", "delta"), f"has no effect on `{objective.loss_type}`; leave it out")
    elif objective.delta is not None and objective.delta <= 1 + (objective.epsilon_high or objective.epsilon):
        message = f"{objective.delta:g} must be above 1 + epsilon_high, or it replaces the clip. 2 is usual"
        yield Problem(("objective", "delta"), message)


def batches_hold_whole_groups(recipe: Recipe) -> Iterator[Problem]:
    training, generation = recipe.training, recipe.generation
    group, batch = generation.num_generations, training.per_device_train_batch_size
    steps, accumulated = training.steps_per_generation, training.gradient_accumulation_steps
    if steps % accumulated:
        message = f"{steps} must be a multiple of gradient_accumulation_steps, {accumulated}; otherwise an optimizer"
        yield Problem(("training", "steps_per_generation"), f"{message} step mixes two rollouts")
    if training.rollout_size % group:
        message = f"{group} must divide the rollout, per_device_train_batch_size x steps_per_generation ="
        yield Problem(("generation", "num_generations"), f"{message} {training.rollout_size}")
    elif batch % group:
        message = f"{batch} is not a multiple of num_generations, {group}; Unsloth would silently set it to {group}"
        severity: Severity = "error" if recipe.model.backend == "unsloth" else "warning"
        yield Problem(("training", "per_device_train_batch_size"), message, severity)


def lengths_fit(recipe: Recipe) -> Iterator[Problem]:
    generation, model = recipe.generation, recipe.model
    needed = generation.max_prompt_length + generation.max_completion_length
    if needed > model.max_seq_length:
        message = f"{model.max_seq_length} is less than max_prompt_length + max_completion_length = {needed}"
        yield Problem(("model", "max_seq_length"), message)
    short = generation.max_completion_length < SHORT_COMPLETION and model.name not in ("starter", "starter-tools")
    if recipe.data.prompt == "think_answer" and recipe.data.system_prompt == "auto" and short:
        message = f"{generation.max_completion_length} tokens cut off most `think_answer` completions before their"
        message += f" answer; allow at least {SHORT_COMPLETION}. It does not apply to rows that bring a system message"
        message += " of their own"
        yield Problem(("generation", "max_completion_length"), message, "warning")


def the_answer_stands_where_it_is_asked_for(recipe: Recipe) -> Iterator[Problem]:
    data = recipe.data
    asked = STYLE_MARKERS[data.prompt]
    found = data.marker in (None, asked, "last_number", "fence") or getattr(data.marker, "regex", None)
    tagged = asked == "tag" and getattr(data.marker, "tags", None)  # the message asks for these tags
    if data.prompt != "plain" and data.system_prompt == "auto" and not found and not tagged:
        message = f"is not where the system message of data.prompt `{data.prompt}` asks for the answer. Give a"
        message += " data.system_prompt that asks for it, or set data.prompt to `plain`"
        yield Problem(("data", "marker"), message)


def credit_needs_tokens(recipe: Recipe) -> Iterator[Problem]:
    for index, reward in enumerate(recipe.rewards):
        if isinstance(reward.credit, RegexCredit):
            try:
                compiled(reward.credit.regex)
            except ValueError as error:
                yield Problem(("rewards", index, "credit", "regex"), str(error))
        if reward.credit is not None and recipe.objective.algorithm != "gspo_token":
            yield Problem(
                ("rewards", index, "credit"),
                f"applies to single tokens, but `{recipe.objective.algorithm}` gives all tokens of a completion the "
                "same advantage. Set objective.algorithm to `gspo_token`, or remove credit",
            )


def turns_need_tools(recipe: Recipe) -> Iterator[Problem]:
    alone = "needs several turns, but without `tools` or `environment` the model has only one. Remove it"
    for index, reward in enumerate(recipe.rewards):
        if isinstance(reward.credit, TurnCredit) and not recipe.plays:
            yield Problem(("rewards", index, "credit"), alone)
    if recipe.objective.gamma and not recipe.plays:
        yield Problem(("objective", "gamma"), alone)
    if recipe.generation.max_turns is not None and not recipe.plays:
        yield Problem(("generation", "max_turns"), alone)
    if recipe.generation.max_turns == 1 and recipe.plays:
        message = "1 ends every conversation before a tool is called; the model needs at least 2 turns to read a result"
        yield Problem(("generation", "max_turns"), message)


def gamma_needs_tokens(recipe: Recipe) -> Iterator[Problem]:
    if recipe.objective.gamma and recipe.objective.algorithm != "gspo_token":
        message = f"pays single turns, but `{recipe.objective.algorithm}` gives all tokens of a completion the same"
        message += " advantage. Set objective.algorithm to `gspo_token`, or gamma to 0"
        yield Problem(("objective", "gamma"), message)


def prefixes_need_tokens(recipe: Recipe) -> Iterator[Problem]:
    if recipe.objective.credit_estimator == "rewards":
        return
    place = ("objective", "credit_estimator")
    if recipe.objective.algorithm != "gspo_token":
        yield Problem(place, "`prefix_tree` computes advantages per token and needs objective.algorithm `gspo_token`")
    if any(reward.credit is not None for reward in recipe.rewards):
        yield Problem(place, "`prefix_tree` replaces the rewards' credit; remove one of them")


def rewards_add_up(recipe: Recipe) -> Iterator[Problem]:
    if not recipe.rewards and recipe.environment is None:
        yield Problem(("rewards",), "missing; at least one reward is needed, or an environment that pays")
    if recipe.rewards and sum(reward.weight for reward in recipe.rewards) == 0 and recipe.environment is None:
        yield Problem(("rewards",), "the weights sum to 0; at least one reward must be optimized")
    names = Counter(reward.name for reward in recipe.rewards)
    for index, reward in enumerate(recipe.rewards):
        if names[reward.name] > 1:
            yield Problem(("rewards", index, "name"), f"`{reward.name}` is listed {names[reward.name]} times")


def what_costs_or_may_lack(recipe: Recipe) -> Iterator[Problem]:
    if recipe.model.lora.dropout > 0:
        message = "GRPO generates in train mode, so with dropout the model that samples is not the one that is trained"
        yield Problem(("model", "lora", "dropout"), message, "warning")
    if recipe.generation.engine == "vllm" and find_spec("vllm") is None:
        message = "vLLM is not installed here; `auto` falls back to transformers"
        yield Problem(("generation", "engine"), message, "warning")
    if "none" in recipe.output.report_to and len(recipe.output.report_to) > 1:
        yield Problem(("output", "report_to"), "`none` cannot be combined with a tracker")


def one_kind_of_weights(recipe: Recipe) -> Iterator[Problem]:
    model = recipe.model
    if len(model.narrow) > 1:
        others = " and ".join(model.narrow[:-1])
        yield Problem(("model", model.narrow[-1]), f"weights have one width; set it or {others} to false")
    for name in model.narrow if model.full_finetuning else ():
        message = f"trains every weight, but quantized weights cannot be trained. Set {name} to false"
        yield Problem(("model", "full_finetuning"), message)
    if model.full_finetuning and model.adapter:
        message = "is a LoRA to continue, but full_finetuning trains every weight. Set one of them only"
        yield Problem(("model", "adapter"), f"{message}; `gspo-lite export` merges an adapter into its model")
    for name in ("vllm_standby", "float8_kv_cache"):
        if getattr(model, name) and "transformers" in (model.backend, recipe.generation.engine):
            message = "is for vLLM inside Unsloth: backend must be `auto` or `unsloth`, generation.engine `auto` or"
            yield Problem(("model", name), f"{message} `vllm`")


def fp8_is_unsloths(recipe: Recipe) -> Iterator[Problem]:
    model, place = recipe.model, ("model", "load_in_fp8")
    if not model.load_in_fp8:
        return
    if model.backend == "transformers":
        message = "needs Unsloth, which has a backward pass through FP8 weights. Set model.backend to `auto` or"
        yield Problem(place, f"{message} `unsloth`")
    if model.dtype not in ("auto", "bfloat16"):
        message = f"multiplies into bfloat16, but model.dtype is `{model.dtype}`. Set it to `auto` or `bfloat16`"
        yield Problem(place, message)
    if model.adapter:
        message = "cannot continue model.adapter: Unsloth converts a model to FP8, but not the base of an adapter. Set"
        yield Problem(place, f"{message} it to false, or name a base that is stored in FP8")


def vllm_takes_the_weights(recipe: Recipe) -> Iterator[Problem]:
    model, place = recipe.model, ("generation", "engine")
    if recipe.generation.engine != "vllm":
        return
    if model.backend == "transformers" and model.narrow:
        message = f"`vllm` beside TRL cannot read quantized weights. Set {' and '.join(model.narrow)} to false,"
        message += " model.backend to `unsloth`, or generation.engine to `auto`"
        yield Problem(place, message, "warning")  # the engine table names first what the machine does not have
    if model.backend == "unsloth" and model.full_finetuning:
        yield Problem(place, "`vllm` inside Unsloth needs an adapter. Set model.full_finetuning to false")


def a_template_is_given_its_own_variables(recipe: Recipe) -> Iterator[Problem]:
    for name in recipe.model.chat_template_kwargs:
        if name in RENDERING:
            message = "is an argument of apply_chat_template that gspo-lite sets itself, not a variable of a template"
            yield Problem(("model", "chat_template_kwargs", name), message)


def the_best_step_is_measured(recipe: Recipe) -> Iterator[Problem]:
    training = recipe.training
    wanted = {("output", "keep_best"): recipe.output.keep_best, ("training", "stop_early"): training.stop_early}
    for place, is_set in wanted.items():
        if is_set and training.eval_steps is None:
            yield Problem(place, "needs held-out accuracy during training; set training.eval_steps")


RULES = (
    one_kind_of_weights, fp8_is_unsloths, vllm_takes_the_weights, a_template_is_given_its_own_variables,
    gspo_must_be_off_policy, a_sequence_counts_once, epsilon_fits_the_ratio, batches_hold_whole_groups, lengths_fit,
    the_answer_stands_where_it_is_asked_for,
    credit_needs_tokens, gamma_needs_tokens, turns_need_tools, prefixes_need_tokens,
    rewards_add_up, extra_is_extra, what_costs_or_may_lack, the_best_step_is_measured,
)  # fmt: skip
