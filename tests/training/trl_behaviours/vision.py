"""Models that see: prompts with images."""

from __future__ import annotations

import functools
from typing import Any

from tests.models.tiny_models import write_vision_model
from tests.training.trl_behaviours import parts
from tests.training.trl_behaviours.adapters import with_adapter
from tests.training.trl_behaviours.behaviour import Behaviour

SETTINGS = {"learning_rate": 0.05, "max_steps": 2}


@functools.cache
def folder() -> str:
    return str(write_vision_model(parts.home() / "vision"))


def model() -> dict[str, Any]:
    return {"model": folder()}


def never_sampled() -> dict[str, Any]:
    """Settings that forbid what `GSPOTrainer` never samples: tokens for padding and for images."""
    from transformers import AutoProcessor

    tokenizer = AutoProcessor.from_pretrained(folder()).tokenizer
    names = ["<|pad|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    return {"suppress_tokens": tokenizer.convert_tokens_to_ids(names)}


def images(count: int) -> Any:
    """Rows with so many images each, of one colour."""
    from datasets import Dataset, Features, Image, List, Value
    from PIL import Image as Picture

    content = [{"role": Value("string"), "content": Value("string")}]
    rows = [
        {
            "prompt": [{"role": "user", "content": f"What is {index}?"}],
            "images": [Picture.new("RGB", (56, 56), (index * 20, 99, 255 - index * 20))] * count,
        }
        for index in range(6)
    ]
    return Dataset.from_list(rows, features=Features(prompt=content, images=List(Image())))


def row(name: str, settings: dict[str, Any] | None = None, count: int = 1, **options: Any) -> Behaviour:
    """A behaviour of a model that sees."""
    values = {**SETTINGS, **(settings or {})}
    given = {"model": model, "rows": lambda: images(count), "rewards": lambda: letters, **options}
    return Behaviour(name, values, late_settings=lambda: {"generation_kwargs": never_sampled()}, **given)


def letters(completions: Any, **columns: Any) -> list[float]:
    """Reward different letters."""
    return [float(len(set(one[0]["content"]))) for one in completions]


VISION = [
    row("prompts with an image"),
    row("prompts with two images", count=2),
    row("prompts with an image and `beta`", {"beta": 0.1}),
    row("prompts with an image and `num_iterations`", {"num_iterations": 2}),
    row("prompts with an image and an adapter", options=with_adapter()),
    row("prompts with an image and accumulated batches", {"gradient_accumulation_steps": 2}),
]
