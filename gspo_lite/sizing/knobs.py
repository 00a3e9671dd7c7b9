"""The settings that a run's memory depends on, with the values to try: those that save some, in the order of least
harm, and those that spend what is left on speed.

Owns order, price and values. Must not know what a value takes: `memory.py` computes that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gspo_lite.recipe.schema import Recipe
from gspo_lite.sizing.memory import Room

Change = dict[str, Any]


@dataclass(frozen=True)
class Knob:
    """A setting to change, its price or gain for the user, and the values to try one after the other."""

    price: str
    changes: Callable[[Recipe, Room], Iterator[Change]]


def changed(recipe: Recipe, change: Change) -> Recipe:
    """Return the recipe with other values at `a.b` places."""
    values = recipe.model_dump()
    for place, value in change.items():
        *path, last = place.split(".")
        target = values
        for key in path:
            target = target[key]
        target[last] = value
    return Recipe.model_validate(values)


def smaller_evaluation(recipe: Recipe, room: Room) -> Iterator[Change]:
    size = recipe.data.eval.batch_size
    while size > 4:
        size //= 2
        yield {"data.eval.batch_size": size}


def checkpointing(recipe: Recipe, room: Room) -> Iterator[Change]:
    if not recipe.training.gradient_checkpointing:
        yield {"training.gradient_checkpointing": True}


def smaller_passes(recipe: Recipe, room: Room) -> Iterator[Change]:
    """Fewer completions a pass, more passes: rollout, updates and gradients stay what they are."""
    training, factor = recipe.training, 2
    floor = recipe.generation.num_generations if room.backend == "unsloth" else 1  # Unsloth would raise it to a group
    while training.per_device_train_batch_size % factor == 0:
        if training.per_device_train_batch_size // factor < floor:
            return
        yield {
            "training.per_device_train_batch_size": training.per_device_train_batch_size // factor,
            "training.gradient_accumulation_steps": training.gradient_accumulation_steps * factor,
            "training.steps_per_generation": training.steps_per_generation * factor,
        }
        factor *= 2


def smaller_share(recipe: Recipe, room: Room) -> Iterator[Change]:
    if room.engine == "vllm":
        yield from ({"model.gpu_memory_utilization": share} for share in (0.5, 0.4, 0.3, 0.2)
                    if share < recipe.model.gpu_memory_utilization)  # fmt: skip


def small_optimizer(recipe: Recipe, room: Room) -> Iterator[Change]:
    if recipe.training.optim.startswith("adamw_torch") and recipe.model.load_in_4bit:  # bitsandbytes is there then
        yield {"training.optim": "adamw_8bit"}


def four_bits(recipe: Recipe, room: Room) -> Iterator[Change]:
    refused = room.engine == "vllm" and room.backend != "unsloth"  # TRL cannot hand packed weights to vLLM
    if not (recipe.model.load_in_4bit or recipe.model.full_finetuning or refused):
        yield {"model.load_in_4bit": True} | {f"model.{name}": False for name in recipe.model.narrow}


def sixteen_bits(recipe: Recipe, room: Room) -> Iterator[Change]:
    if recipe.model.dtype == "float32" and room.gpu:
        yield {"model.dtype": "auto"}


def smaller_rollout(recipe: Recipe, room: Room) -> Iterator[Change]:
    """Fewer prompts a rollout at the same number of updates on each."""
    training, factor = recipe.training, 2
    while training.gradient_accumulation_steps % factor == 0:
        if training.rollout_size // factor % recipe.generation.num_generations:
            return
        yield {
            "training.gradient_accumulation_steps": training.gradient_accumulation_steps // factor,
            "training.steps_per_generation": training.steps_per_generation // factor,
        }
        factor *= 2


def fewer_extra_prompts(recipe: Recipe, room: Room) -> Iterator[Change]:
    yield from ({"generation.sample_factor": factor} for factor in range(recipe.generation.sample_factor - 1, 0, -1))


def shorter_prompts(recipe: Recipe, room: Room) -> Iterator[Change]:
    length = recipe.generation.max_prompt_length
    while length > 128:
        length //= 2
        yield {"generation.max_prompt_length": length}


def lower_rank(recipe: Recipe, room: Room) -> Iterator[Change]:
    rank, alpha = recipe.model.lora.rank, recipe.model.lora.alpha
    while rank > 8 and rank % 2 == 0 and alpha % 2 == 0:
        rank, alpha = rank // 2, alpha // 2
        yield {"model.lora.rank": rank, "model.lora.alpha": alpha}


def smaller_groups(recipe: Recipe, room: Room) -> Iterator[Change]:
    """Groups of 4, with passes as small as they are then allowed to be under Unsloth."""
    training, group = recipe.training, recipe.generation.num_generations
    if group == 8 and training.per_device_train_batch_size == 8:
        yield {"generation.num_generations": 4, "training.per_device_train_batch_size": 4}


def shorter_completions(recipe: Recipe, room: Room) -> Iterator[Change]:
    length = recipe.generation.max_completion_length
    while length > 128:
        length = length * 3 // 4 // 32 * 32
        yield {"generation.max_completion_length": length}


def sixteen_bit_weights(recipe: Recipe, room: Room) -> Iterator[Change]:
    if recipe.model.narrow and not recipe.model.load_in_fp8 and recipe.model.dtype != "float32":  # FP8 is as fast
        yield {f"model.{name}": False for name in recipe.model.narrow}


def larger_passes(recipe: Recipe, room: Room) -> Iterator[Change]:
    """More completions a pass, fewer passes: rollout, updates and gradients stay what they are."""
    training, factor = recipe.training, 2
    while training.gradient_accumulation_steps % factor == 0 and room.backend != "unsloth":  # it chooses by itself
        yield {
            "training.per_device_train_batch_size": training.per_device_train_batch_size * factor,
            "training.gradient_accumulation_steps": training.gradient_accumulation_steps // factor,
            "training.steps_per_generation": training.steps_per_generation // factor,
        }
        factor *= 2


KNOBS = (
    Knob("evaluates in smaller batches; same figures", smaller_evaluation),
    Knob("computes activations twice, so a training pass takes about a third longer", checkpointing),
    Knob("more, smaller passes; same rollout, same updates", smaller_passes),
    Knob("less room for vLLM's cache, so fewer completions at a time", smaller_share),
    Knob("8-bit optimizer state", small_optimizer),
    Knob("16-bit instead of 32-bit weights", sixteen_bits),
    Knob("4-bit weights, slightly less exact", four_bits),
    Knob("fewer groups to choose from, so more without variance are trained on", fewer_extra_prompts),
    Knob("fewer prompts a rollout, so a noisier gradient; same number of updates on each", smaller_rollout),
    Knob("prompts beyond it are left out", shorter_prompts),
    Knob("a smaller adapter learns less", lower_rank),
    Knob("half as many completions of a prompt to compare, and half the rollout", smaller_groups),
    Knob("cuts long answers off; lower soft_overlong's max_length with it", shorter_completions),
)

FASTER = (
    Knob(
        "16-bit weights fit: 4-bit ones are written out in 16 bits at every step of decoding, which makes a cycle "
        "about 1.5 to 2 times as long (an estimate)",
        sixteen_bit_weights,
    ),
    Knob("fewer, larger passes; same rollout, same updates", larger_passes),
)
