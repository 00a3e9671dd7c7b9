"""A problem as the model sees it: the chat template's text, with the images where the problem has some.

`processing` is a tokenizer, or the processor of a model that sees. Must not know where problems come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gspo_lite.data.prompts import Messages, as_text


def prompt_text(processing: Any, problem: Mapping[str, Any]) -> str:
    """The text the model sees: the chat template's where there is one."""
    if processing.chat_template is None:
        return as_text(problem["prompt"])
    chat = problem["prompt"]
    if sees(processing):
        chat = with_images(chat, len(problem.get("images") or []))
    text: str = processing.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    return text


def model_inputs(processing: Any, problems: Sequence[Mapping[str, Any]]) -> Any:
    """Tensors of a batch of problems, padded on the left."""
    texts = [prompt_text(processing, problem) for problem in problems]
    options = {"return_tensors": "pt", "padding": True, "padding_side": "left", "add_special_tokens": False}
    if not sees(processing):
        return processing(texts, **options)
    images = [list(problem.get("images") or []) for problem in problems]
    return processing(text=texts, images=images if any(images) else None, **options)


def prompt_length(processing: Any, problem: Mapping[str, Any]) -> int:
    """Tokens the model sees of this problem, those of its images included."""
    if not sees(processing):
        return len(processing(prompt_text(processing, problem), add_special_tokens=False).input_ids)
    return int(model_inputs(processing, [problem])["input_ids"].shape[1])


def sees(processing: Any) -> bool:
    """Whether this is the processor of a model that takes images."""
    return hasattr(processing, "image_processor")


def with_images(chat: Messages, count: int) -> Messages:
    """The chat in content blocks, with places for `count` images in front of the first user message, as TRL has it."""
    blocks: Messages = []
    left = count
    for message in chat:
        content = message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
            if message["role"] == "user":
                content, left = [*({"type": "image"} for _ in range(left)), *content], 0
        blocks.append({**message, "content": content})
    return blocks
