"""Carries settings of another trainer over to a draft: single keys by the table, weights and rewards as a whole."""

from __future__ import annotations

from typing import Any

from gspo_lite.recipe.foreign.draft import Draft
from gspo_lite.recipe.foreign.python_text import Code
from gspo_lite.recipe.foreign.rewards import DIFFERENCES, RUNS_CODE, TRUST, as_code, form_of, options_of, ours
from gspo_lite.recipe.foreign.settings import Setting, answer_to
from gspo_lite.recipe.foreign.sources import SOURCES, carry_source
from gspo_lite.recipe.foreign.values import converted
from gspo_lite.recipe.model_settings import NARROW

UNKNOWN = "no key of gspo-lite, TRL, open-r1, axolotl or Unsloth that is known here"
COMPUTED = "is computed by the script"
# Keys whose values are read together.
ADAPTER = ("use_peft", "adapter", "full_finetuning", "load_in_4bit", "lora_target_linear")
WHOLE_MODEL = ("model_name_or_path", "base_model", "model", "model_id")  # Unsloth has `model_name`
REWARD_KEYS = ("reward_funcs", "reward_functions")
LATER = ("warmup_ratio", "generation_batch_size")  # shares and products of other values


def carry_all(draft: Draft, settings: list[Setting]) -> None:
    """Carry over every setting, or note why it is left."""
    for setting in sorted(settings, key=lambda one: one.key == "rl"):  # after what says more about the objective
        found = answer_to(setting)
        if setting.value is None or setting.value == "" or (found and found.place == "rewards"):
            continue  # nothing is set, or read with the rewards
        if found is None or found.place is None:
            draft.left.append((setting, found.reason if found else UNKNOWN))
        elif setting.key == "rl":
            carry_trainer(draft, setting)
        elif setting.key in SOURCES:
            carry_source(draft, setting)
        elif setting.key not in (*ADAPTER, *LATER):
            carry_value(draft, setting, found.place)
    carry_weights(draft, settings)
    carry_rewards(draft, settings)


def carry_trainer(draft: Draft, setting: Setting) -> None:
    """Carry over the name of axolotl's trainer, which says less than TRL's importance_sampling_level."""
    if setting.value == "gdpo":
        draft.carry("training.extra.multi_objective_aggregation", "normalize_then_sum", setting)
    elif setting.value != "grpo" or "objective.algorithm" not in draft.values:
        carry_value(draft, setting, "objective.algorithm")


def carry_value(draft: Draft, setting: Setting, place: str) -> None:
    """Carry over the value of one key."""
    if isinstance(setting.value, Code):
        draft.left.append((setting, COMPUTED))
        return
    try:
        draft.carry(place, converted(setting.key, place, setting.value), setting)
    except (ValueError, TypeError, KeyError) as error:
        draft.left.append((setting, str(error)))


def carry_weights(draft: Draft, settings: list[Setting]) -> None:
    """Decide between an adapter and all weights, and between 4 bits and 16, as the other trainer would.

    TRL and axolotl train every weight in 16 bits unless a key says otherwise; Unsloth loads 4 bits for an adapter.
    """
    found = {setting.key: setting for setting in settings if setting.value not in (None, "")}
    if "lora_target_linear" in found:
        carry_value(draft, found["lora_target_linear"], "model.lora.target_modules")
    if "load_in_4bit" in found:
        carry_value(draft, found["load_in_4bit"], "model.load_in_4bit")
    named = next((found[key] for key in WHOLE_MODEL if key in found), None)
    owner = found.get("full_finetuning") or found.get("adapter") or found.get("use_peft") or named
    if owner is None:
        return
    quantized = any(draft.get(f"model.{name}") is True for name in NARROW)
    lora = quantized or any(place.startswith(("model.lora.", "model.adapter")) for place in draft.values)
    said = owner.value is True if owner.key == "full_finetuning" else owner.value is False
    draft.carry("model.full_finetuning", not lora if owner is named else said, owner)
    if "load_in_4bit" not in found:
        draft.carry("model.load_in_4bit", owner.value == "qlora" and not quantized, owner)


def carry_rewards(draft: Draft, settings: list[Setting]) -> None:
    """Carry over reward functions with their weights and options."""
    given = next((one for one in settings if one.key == "reward_weights" and isinstance(one.value, list)), None)
    weights = given.value if given else []
    for setting in settings:
        if setting.key in ("reward_model_name_or_path", "reward_model_path") and isinstance(setting.value, str):
            add_reward(draft, setting, {"name": "reward_model", "weight": 1.0, "options": {"model": setting.value}})
        if setting.key not in REWARD_KEYS:
            continue
        named = setting.value.split(",") if type(setting.value) is str else setting.value
        named = named if isinstance(named, list) else [named]
        if given and len(weights) != len(named):
            draft.left.append((given, f"{len(weights)} weights for {len(named)} rewards; those without get 1"))
        for index, name in enumerate(named):
            weight = weights[index] if index < len(weights) else 1.0
            carry_reward(draft, setting, name if isinstance(name, Code) else str(name).strip(), weight)


def carry_reward(draft: Draft, setting: Setting, name: str, weight: Any) -> None:
    """Carry over one reward function, or say what to do about it."""
    known = ours(name)
    if known is not None:
        longest = draft.get("generation.max_completion_length", 512)
        options = options_of(known, draft.given, longest)
        penalty = draft.given.get("repetition_max_penalty")
        if known == "repetition_penalty" and type(penalty) in (int, float) and type(weight) in (int, float):
            weight = -weight * penalty
        add_reward(draft, setting, {"name": known, "weight": weight} | ({"options": options} if options else {}))
    elif name.rpartition(".")[2].removesuffix("_reward") in RUNS_CODE:
        draft.left.append((setting, f"`{name}`: {TRUST}"))
    elif isinstance(name, Code):
        draft.left.append((setting, f"`{name}`: put it into a file and write {form_of(name)}"))
    elif (code := as_code(name, draft.home)) is not None:
        add_reward(draft, setting, {"name": code, "weight": weight})
    else:
        draft.left.append((setting, f"`{name}`: no such reward here: `gspo-lite rewards list`"))


def add_reward(draft: Draft, setting: Setting, reward: dict[str, Any]) -> None:
    """Add a reward, once."""
    name = reward["name"]
    if f"rewards.{name}" in draft.origins:
        draft.left.append((setting, f"`{name}` is listed already"))
        return
    draft.rewards.append(reward)
    draft.origins[f"rewards.{name}"] = setting
    if name in DIFFERENCES:
        draft.remarks[f"rewards.{name}"] = DIFFERENCES[name]
