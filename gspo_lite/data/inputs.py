"""Prepares a problem as model input: the text of the chat template, with the problem's images if it has any.

`processing` is a tokenizer, or the processor of a vision-language model. Must not know where problems come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gspo_lite.completion.text import Layout
from gspo_lite.data.prompts import Messages

ToolsOf = Callable[[Mapping[str, Any]], list[Any]]  # the tools that the template shows with the prompt of a row


def with_tools(
    template_kwargs: Mapping[str, Any], row: Mapping[str, Any], tools_of: ToolsOf | None
) -> Mapping[str, Any]:
    """Return the variables of the chat template for the prompt of a row, its tools among them."""
    return template_kwargs if tools_of is None else {**template_kwargs, "tools": tools_of(row)}


def prompt_text(processing: Any, problem: Mapping[str, Any], template_kwargs: Mapping[str, Any]) -> str:
    """Return the text the model sees, as TRL renders it in training: by the chat template with these variables."""
    chat = problem["prompt"]
    if takes_images(processing):
        chat = with_images(chat, len(problem.get("images") or []))
    text: str = processing.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, **template_kwargs)
    return text


def thoughts_opened(processing: Any, layout: Layout, template_kwargs: Mapping[str, Any]) -> str:
    """Return the tag, with white space, by which the chat template opens the thoughts for the model; else nothing.

    A completion then begins inside its thoughts. It is judged and recorded with this text in front, or thoughts that
    never end would be taken for an answer.
    """
    text = prompt_text(processing, {"prompt": [{"role": "user", "content": "?"}]}, template_kwargs)
    tag = layout.thoughts.open.strip()
    return text[text.rindex(tag) :] if text.rstrip().endswith(tag) else ""


def model_inputs(processing: Any, problems: Sequence[Mapping[str, Any]], template_kwargs: Mapping[str, Any]) -> Any:
    """Return the tensors of a batch of problems, padded on the left."""
    texts = [prompt_text(processing, problem, template_kwargs) for problem in problems]
    options = {"return_tensors": "pt", "padding": True, "padding_side": "left", "add_special_tokens": False}
    if not takes_images(processing):
        return processing(texts, **options)
    images = [list(problem.get("images") or []) for problem in problems]
    return processing(text=texts, images=images if any(images) else None, **options)


def prompt_length(processing: Any, problem: Mapping[str, Any], template_kwargs: Mapping[str, Any]) -> int:
    """Return the number of prompt tokens of a problem, including those of its images."""
    if not takes_images(processing):
        return len(processing(prompt_text(processing, problem, template_kwargs), add_special_tokens=False).input_ids)
    return int(model_inputs(processing, [problem], template_kwargs)["input_ids"].shape[1])


def takes_images(processing: Any) -> bool:
    """Return whether this is the processor of a model that takes images."""
    return hasattr(processing, "image_processor")


def with_images(chat: Messages, count: int) -> Messages:
    """Return the chat in content blocks, with `count` image placeholders before the first user message, as in TRL."""
    blocks: Messages = []
    for message in chat:
        content = message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
            if message["role"] == "user":
                content, count = [*({"type": "image"} for _ in range(count)), *content], 0
        blocks.append({**message, "content": content})
    return blocks
