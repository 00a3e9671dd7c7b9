"""Decides whether a model is loaded as a text-only or a vision-language model, and which tokens it must never sample.

Owns the choice of transformers' auto class and prepares the processing class. Must not know adapters.
"""

from __future__ import annotations

import re
from typing import Any

from gspo_lite.errors import UsageError

# Configuration fields with the id of a token that stands for an image, a video or a sound, or delimits one.
PLACEHOLDER = re.compile(r"(?:image|video|vision|audio|boi|eoi|boa|eoa)\w*_(?:token_id|token_index)$")


def auto_class(config: Any, name: str, images: bool) -> Any:
    """Return the auto class for this model: vision-language if the data has images or the model has no other class.

    Raises:
        UsageError: the data has images but the model is text-only.
    """
    import transformers

    sees = type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    if images and not sees:
        raise UsageError(
            f"the data has images, but `model.name` `{name}` (a {config.model_type}) does not take images",
            "name a vision-language model, such as one of Qwen2.5-VL",
        )
    speaks = type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING or bool(getattr(config, "auto_map", None))
    sighted = sees and (images or not speaks)
    return transformers.AutoModelForImageTextToText if sighted else transformers.AutoModelForCausalLM


def ready(processing: Any) -> Any:
    """Give a tokenizer or processor a padding token and padding on the left, for generation; return it."""
    tokenizer = tokenizer_of(processing)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return processing


def tokenizer_of(processing: Any) -> Any:
    """Return the tokenizer of a processor; a tokenizer unchanged."""
    return getattr(processing, "tokenizer", processing)


def never_sampled(model: Any, processing: Any) -> list[int]:
    """Return the tokens that generation must not sample, in training and evaluation alike.

    TRL counts a sampled padding token as a real token, Unsloth does not. A sampled image token stands for pixels that
    do not exist, so the next forward pass would fail.
    """
    tokenizer = tokenizer_of(processing)
    found = set() if tokenizer.pad_token_id == tokenizer.eos_token_id else {tokenizer.pad_token_id}
    if tokenizer is not processing:
        fields = model.config.to_dict().items()
        found |= {value for name, value in fields if PLACEHOLDER.search(name) and isinstance(value, int)}
    size = model.config.get_text_config().vocab_size
    return sorted(token for token in found if token is not None and 0 <= token < size)
