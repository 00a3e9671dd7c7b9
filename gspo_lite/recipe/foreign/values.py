"""Converts single values of other trainers to those of a recipe. A converter raises ValueError with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, get_args

from gspo_lite.recipe.foreign.keys import SERVING
from gspo_lite.recipe.schema import Tracker

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}
ALGORITHMS = {
    "token": "grpo", "sequence": "gspo", "sequence_token": "gspo_token", "grpo": "grpo", "gspo": "gspo",
    "gspo_token": "gspo_token", "gspo-token": "gspo_token",
}  # fmt: skip
SCHEDULES = {
    "cosine_with_min_lr": "cosine", "cosine_with_restarts": "cosine", "cosine_warmup_with_min_lr": "cosine",
    "polynomial": "linear", "inverse_sqrt": "constant_with_warmup", "reduce_lr_on_plateau": "constant_with_warmup",
    "warmup_stable_decay": "constant_with_warmup", "rex": "cosine", "one_cycle": "cosine",
}  # fmt: skip
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def dtype(value: Any) -> str:
    name = str(value).removeprefix("torch.")
    return DTYPES.get(name, name)


def precision(key: str, value: Any) -> str:
    if value not in (True, "auto"):
        raise ValueError("model.dtype is the type of the weights")
    return "float16" if key == "fp16" and value is True else "auto"


def algorithm(value: Any) -> str:
    if value not in ALGORITHMS:
        raise ValueError(f"`{value}` is not an objective of a recipe: {', '.join(sorted(set(ALGORITHMS.values())))}")
    return ALGORITHMS[value]


def engine(value: Any) -> str:
    if value == "server":
        raise ValueError(SERVING)
    return "transformers" if value is False else "auto"


def subset(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def target_modules(value: Any) -> Any:
    if value is True:
        return "all-linear"
    if isinstance(value, str) and value != "all-linear":
        return [one.strip() for one in value.split(",")]
    return value


def scale_rewards(value: Any) -> Any:
    return {True: "group", False: "none"}[value] if isinstance(value, bool) else value


def top_k(value: Any) -> Any:
    return 0 if value == -1 else value


def schedule(value: Any) -> Any:
    name = str(value).lower().removeprefix("schedulertype.")
    return SCHEDULES.get(name, name)


def steps(value: Any) -> Any:
    if isinstance(value, int | float) and value < 0:
        raise ValueError("leaves the number of steps to the epochs")
    return value


def counted(value: Any) -> Any:
    if isinstance(value, float) and value < 1:
        raise ValueError("a share of all steps; a recipe counts them")
    return value


def gradient_checkpointing(value: Any) -> Any:
    return True if value == "unsloth" else value


def trackers(value: Any) -> list[str]:
    named = [value] if isinstance(value, str) else list(value or [])
    known = [one for one in named if one in get_args(Tracker)]
    if named and not known:
        raise ValueError(f"no such tracker here: {', '.join(get_args(Tracker))}")
    return known or ["none"]


def folder(value: Any) -> str:
    path = PurePosixPath(str(value))
    if path.is_absolute() or ".." in path.parts or str(value).startswith("~"):
        raise ValueError("a run folder lies in the current folder, unless --output or --allow-outside says otherwise")
    return str(value)


CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "model.dtype": dtype, "model.lora.target_modules": target_modules, "data.subset": subset,
    "objective.algorithm": algorithm, "objective.scale_rewards": scale_rewards, "generation.engine": engine,
    "generation.top_k": top_k, "training.lr_scheduler_type": schedule, "training.max_steps": steps,
    "training.save_steps": counted, "training.eval_steps": counted,
    "training.gradient_checkpointing": gradient_checkpointing,
    "output.report_to": trackers, "output.dir": folder,
}  # fmt: skip


def converted(key: str, place: str, value: Any) -> Any:
    """Return the value of another trainer's key as a recipe has it at this place; numbers in quotes become numbers.

    Raises:
        ValueError: says why it does not carry over.
    """
    if key in ("bf16", "fp16"):
        return precision(key, value)
    numeric = place.startswith(("objective.", "generation.", "training.", "model.lora."))
    if numeric and isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        value = float(value) if re.search(r"[.eE]", value) else int(value)
    return CONVERTERS[place](value) if place in CONVERTERS else value
