"""A reward from a model: a sequence classifier reads prompt and completion, and its output is the reward."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from gspo_lite.completion.text import chat_text
from gspo_lite.errors import UsageError, first_line
from gspo_lite.rewards.contract.registry import reward


def prepare(model: str, label: int | None, **_: Any) -> None:
    """Load the judge when the run starts, so that an unsuitable one is refused before anything is sampled."""
    judge = load(model)[0]
    count = judge.config.num_labels
    if label is None and count != 1:
        raise UsageError(
            f"reward `reward_model`: `{model}` has {count} outputs; a reward model has 1",
            "choose the one that is the reward with the option `label`, from 0",
        )
    if label is not None and label >= count:
        raise UsageError(f"reward `reward_model`: `label` {label} is not one of the {count} outputs of `{model}`")


@reward(prepare=prepare)
def reward_model(
    completions: Sequence[str],
    prompts: Sequence[Any],
    *,
    model: Annotated[str, Field(min_length=1)],
    label: Annotated[int, Field(ge=0)] | None = None,
    batch_size: Annotated[int, Field(ge=1)] = 8,
    max_length: Annotated[int, Field(ge=1)] = 4096,
) -> list[float]:
    """Return the output of a sequence classifier, such as a preference model, for prompt and completion.

    `model` is a local folder or a hub id with one output; if it has several, `label` selects one. The judge's chat
    template is applied if it has one. Texts of more than `max_length` of the judge's tokens lose their beginning,
    never the completion's end. Outputs are not rescaled: look at their range before you choose the weight.

        - {name: reward_model, weight: 0.5, options: {model: ./my-judge}}
    """
    import torch

    judge, tokenizer = load(model)
    texts = [whole_text(tokenizer, prompt, text) for prompt, text in zip(prompts, completions, strict=True)]
    scores: list[float] = []
    with torch.no_grad():
        for start in range(0, len(texts), batch_size):
            inputs = tokenizer(
                texts[start : start + batch_size], return_tensors="pt", padding=True, truncation=True,
                max_length=max_length, add_special_tokens=tokenizer.chat_template is None,
            )  # fmt: skip
            scores += judge(**inputs.to(judge.device)).logits[:, label or 0].float().tolist()
    return scores


@functools.lru_cache(maxsize=2)
def load(name: str) -> tuple[Any, Any]:
    """Load judge and tokenizer, once per process; refuse a judge that cannot be loaded or has no trained output."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        judge, info = AutoModelForSequenceClassification.from_pretrained(name, output_loading_info=True)
    except (OSError, ValueError) as error:
        gist = first_line(error)
        raise UsageError(f"reward `reward_model`: `{name}` cannot be loaded: {gist}") from error
    if info["missing_keys"]:  # transformers fills them with random weights
        missing = ", ".join(f"`{key}`" for key in sorted(info["missing_keys"])[:3])
        raise UsageError(
            f"reward `reward_model`: `{name}` has no weights for {missing}, so its scores would be random",
            "name a trained sequence classifier",
        )
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.padding_side, tokenizer.truncation_side = "right", "left"
    judge.config.get_text_config().pad_token_id = judge.config.pad_token_id = tokenizer.pad_token_id
    return judge.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def whole_text(tokenizer: Any, prompt: Any, completion: str) -> str:
    """Return prompt and completion as the judge reads them."""
    chat = prompt if isinstance(prompt, list) else [{"role": "user", "content": chat_text(prompt)}]
    if tokenizer.chat_template is None:
        return "\n\n".join([*(chat_text([message]) for message in chat), completion])
    said = [{**message, "content": chat_text([message])} for message in chat]
    text: str = tokenizer.apply_chat_template([*said, {"role": "assistant", "content": completion}], tokenize=False)
    return text
