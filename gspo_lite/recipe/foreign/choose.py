"""Chooses what a recipe needs and another trainer's file does not say: as TRL would, where a recipe allows that."""

from __future__ import annotations

import math

from gspo_lite.recipe.extra import EPOCHS
from gspo_lite.recipe.foreign.carry import REWARD_KEYS
from gspo_lite.recipe.foreign.draft import Draft
from gspo_lite.recipe.foreign.keys import PLACES
from gspo_lite.recipe.foreign.sources import KNOWN_DATA, is_file
from gspo_lite.recipe.foreign.values import SCHEDULES
from gspo_lite.recipe.schema import GenerationSettings, ModelSettings, TrainingSettings

STEPS = 500  # optimizer steps where the file counts epochs
STREAMED = 10_000  # rows of a stream
HELD_OUT = 300  # problems to evaluate on where the file names none
MINI_BATCHES = 4  # optimizer steps per rollout in the GSPO paper
PAPER_CLIP = {"objective.epsilon": 3e-4, "objective.epsilon_high": 4e-4}
# TRL's defaults that differ from those of a recipe, and matter; a test compares them with TRL.
TRL_DEFAULTS = {
    "objective.epsilon": 0.2, "objective.loss_type": "dapo", "objective.use_bias_correction_kl": True,
    "training.lr_scheduler_type": "linear",
}  # fmt: skip
BY_TRL = "TRL's default"
GRADED = ("math_correct", "cosine_length", "length_penalty", "exact_match")  # read the column of the answer
TAGGED = ("think_format", "tag_count")
GENERATION, TRAINING = GenerationSettings.model_fields, TrainingSettings.model_fields


def choose_all(draft: Draft, name: str) -> None:
    """Choose everything that was not carried over, anew; `name` is that of the run folder."""
    draft.chosen.clear()
    draft.decide.clear()
    choose_model(draft)
    choose_rewards_and_prompt(draft)
    choose_data(draft)
    choose_objective(draft)
    choose_batches(draft)
    choose_steps(draft)
    choose_lengths(draft)
    draft.choose("output.dir", f"runs/{name}", "the run folder is named after the file")


def choose_model(draft: Draft) -> None:
    """Choose the model and how it is loaded."""
    draft.ask("model.name", "starter", "the model; the starter is a tiny one for a first try")
    if draft.get("generation.engine") == "auto":
        draft.remarks["generation.engine"] = "vLLM where it can run"
    if draft.get("model.full_finetuning") is False:
        draft.choose("model.lora.target_modules", "all-linear", "TRL leaves the choice of layers to PEFT")
        draft.choose("model.lora.dropout", 0.0, "GRPO generates in train mode; TRL's default, 0.05, would disturb it")
    if draft.get("model.full_finetuning"):
        draft.decide["model.full_finetuning"] = (
            "every weight is trained, in float32; `false` trains a LoRA, in far less memory"
        )


def choose_rewards_and_prompt(draft: Draft) -> None:
    """Choose a reward if none was carried over, and the prompt style that asks for what the rewards look for."""
    if not draft.rewards:
        draft.ask("rewards", [{"name": "math_correct", "weight": 1.0}], "the rewards: `gspo-lite rewards list`")
    elif any(setting.key in REWARD_KEYS for setting, _ in draft.left):
        draft.decide["rewards"] = "not all rewards carried over; add what is missing"
    names = [one["name"] for one in draft.rewards] or ["math_correct"]
    system = str(draft.given.get("system_prompt") or "")
    if "<answer>" in system or any(name in TAGGED for name in names):
        draft.choose("data.prompt", "think_answer", "the answer stands between <answer> and </answer>")
    elif "boxed" in system or any(name in GRADED for name in names):
        draft.choose("data.prompt", "boxed", "the answer stands in \\boxed{}, as TRL's accuracy_reward reads it")
    else:
        draft.choose("data.prompt", "plain", "nothing is added to the prompt")


def choose_data(draft: Draft) -> None:
    """Choose the data, how its rows are read, and what is held out."""
    draft.ask("data.source", "arithmetic", "the data; `arithmetic` is embedded")
    if draft.get("data.streaming"):
        draft.ask("data.limit", STREAMED, "rows to read from the stream")
    source, split = str(draft.get("data.source")), str(draft.get("data.split", "train"))
    adapter, held_out = KNOWN_DATA.get(source.lower(), (None, None))
    if adapter and "data.columns.prompt" not in draft.values:
        draft.choose("data.adapter", adapter, f"reads the rows of {source}")
        if adapter == "gsm8k":
            draft.choose("data.subset", "main", f"the configuration of {source}")
    elif source != "arithmetic" and any(one["name"] in GRADED for one in draft.rewards):
        draft.choose("data.columns.answer", "solution", "the column that TRL's accuracy_reward reads")
    if draft.get("data.eval.source") is not None:
        draft.choose("data.eval.split", "train", "the split of a data set that names none")
    elif source != "arithmetic" and not is_file(source):
        last = f"{split.split('[')[0]}[-{HELD_OUT}:]"
        draft.choose("data.eval.split", held_out or last, "problems that are held out from training")


def choose_objective(draft: Draft) -> None:
    """Choose the algorithm, and a clip and a mean that belong to it."""
    draft.choose("objective.algorithm", "grpo", "TRL's importance_sampling_level is `token` unless it is set")
    gspo = draft.get("objective.algorithm") != "grpo"
    if gspo:
        if "objective.epsilon" not in draft.values:
            for place, value in PAPER_CLIP.items():
                draft.choose(place, value, "the GSPO paper's clip; GRPO's 0.2 would never clip a sequence ratio")
        draft.choose("objective.loss_type", "grpo", "GSPO counts a sequence once, whatever its length")
    else:
        draft.choose("objective.epsilon", TRL_DEFAULTS["objective.epsilon"], BY_TRL)
        draft.choose("objective.loss_type", TRL_DEFAULTS["objective.loss_type"], BY_TRL)
    if draft.get("objective.loss_type") == "cispo":
        draft.choose("objective.epsilon_high", 5.0, "`cispo` caps the ratio itself at this value")
    draft.choose("objective.beta", 0.0, BY_TRL)
    if draft.get("objective.beta") != 0:
        draft.choose("objective.use_bias_correction_kl", TRL_DEFAULTS["objective.use_bias_correction_kl"], BY_TRL)


def choose_batches(draft: Draft) -> None:
    """Choose batches that hold whole groups, and as many optimizer steps per rollout as the algorithm needs."""
    group = draft.get("generation.num_generations", GENERATION["num_generations"].default)
    batch = draft.get("training.per_device_train_batch_size")
    if batch is None:  # not given, or refused below
        theirs = draft.number(*PLACES["training.per_device_train_batch_size"].split(), "per_device_train_batch_size")
        batch = int(theirs or TRAINING["per_device_train_batch_size"].default)
    accumulated = draft.get("training.gradient_accumulation_steps", 1)
    rollout, steps = draft.number("generation_batch_size"), draft.get("training.steps_per_generation")
    if steps is None and rollout and rollout % batch == 0:
        steps = int(rollout) // batch
        draft.choose("training.steps_per_generation", steps, f"generation_batch_size {rollout} / {batch}")
    off_policy = draft.get("objective.algorithm") != "grpo" and draft.get("training.num_iterations", 1) == 1
    if steps is None or (off_policy and steps == accumulated):
        steps = accumulated * (MINI_BATCHES if off_policy else 1)
        reason = "GSPO has no effect with one optimizer step per rollout, TRL's default; 4 as in the paper"
        draft.choose("training.steps_per_generation", steps, reason if off_policy else BY_TRL)
    if batch * steps % group:
        reason = f"a rollout on one GPU, {batch} x {steps} completions, does not hold whole groups of {group}"
        draft.drop("training.per_device_train_batch_size", reason)
        whole = math.ceil(batch / group) * group
        draft.choose("training.per_device_train_batch_size", whole, "a multiple of num_generations, as Unsloth has it")


def choose_steps(draft: Draft) -> None:
    """Choose the number of steps and the schedule of the learning rate."""
    epochs = draft.number("num_train_epochs", "num_epochs")
    draft.ask("training.max_steps", STEPS, f"{epochs:g} epochs here. {EPOCHS}" if epochs else EPOCHS)
    share = draft.number("warmup_ratio", "warmup_steps")
    if isinstance(share, float):
        warmup = math.ceil(share * draft.get("training.max_steps")) if share < 1 else int(share)
        draft.choose("training.warmup_steps", warmup, f"{share:g} of max_steps" if share < 1 else "a whole number")
    scheduler = str(draft.given.get("lr_scheduler_type") or draft.given.get("lr_scheduler"))
    draft.choose("training.lr_scheduler_type", TRL_DEFAULTS["training.lr_scheduler_type"], BY_TRL)
    if scheduler in SCHEDULES:
        draft.remarks["training.lr_scheduler_type"] = f"`{scheduler}` is not offered; this is the nearest"
        draft.drop("training.extra.lr_scheduler_kwargs", f"belongs to `{scheduler}`")
    if draft.given.get("eval_strategy") in ("no", "epoch"):
        draft.drop("training.eval_steps", f"eval_strategy is `{draft.given['eval_strategy']}`")
    if draft.given.get("save_strategy") in ("no", "epoch"):
        draft.drop("training.save_steps", f"save_strategy is `{draft.given['save_strategy']}`")


def choose_lengths(draft: Draft) -> None:
    """Choose a limit for prompts, and room for prompt and completion."""
    completion = draft.get("generation.max_completion_length", GENERATION["max_completion_length"].default)
    longest = draft.values.get("model.max_seq_length", 0)
    prompt = GENERATION["max_prompt_length"].default
    if 0 < longest - completion < prompt:
        prompt = longest - completion
    draft.choose("generation.max_prompt_length", prompt, "TRL has no limit; longer prompts are refused here")
    room = draft.get("generation.max_prompt_length", 0) + completion
    if room > ModelSettings.model_fields["max_seq_length"].default:
        draft.choose("model.max_seq_length", room, "max_prompt_length + max_completion_length")
