"""What kind of model a name stands for: text only or one that sees images, and which tokens it must never sample.

Owns the choice of transformers' auto class and of the processing class that goes with it. Must not know adapters.
"""

from __future__ import annotations

import re
from typing import Any

from gspo_lite.errors import UsageError

# Fields of a configuration that hold the id of a token which stands for an image, a video or a sound, or frames one.
PLACEHOLDER = re.compile(r"(?:image|video|vision|audio|boi|eoi|boa|eoa)\w*_(?:token_id|token_index)$")


def auto_class(config: Any, name: str, images: bool) -> Any:
    """The auto class that loads this model: with its eyes where the data has images or it comes no other way.

    Raises:
        UsageError: when the data has images and the model cannot see.
    """
    import transformers

    sees = type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    if images and not sees:
        raise UsageError(
            f"the data has images, and `model.name` `{name}` (a {config.model_type}) cannot see them",
            "name a vision-language model, such as one of Qwen2.5-VL",
        )
    speaks = type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING or bool(getattr(config, "auto_map", None))
    sighted = sees and (images or not speaks)
    return transformers.AutoModelForImageTextToText if sighted else transformers.AutoModelForCausalLM


def ready(processing: Any) -> Any:
    """The same tokenizer or processor with a padding token, padding on the left as generation needs it."""
    tokenizer = tokenizer_of(processing)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return processing


def tokenizer_of(processing: Any) -> Any:
    """The tokenizer of a processor; a tokenizer as it is."""
    return getattr(processing, "tokenizer", processing)


def never_sampled(model: Any, processing: Any) -> list[int]:
    """Tokens that generation must leave out, in training and evaluation alike.

    A sampled padding token is a real one for TRL and none for Unsloth. A sampled image token stands for pixels that
    are not there, and ends the run at the next forward pass.
    """
    tokenizer = tokenizer_of(processing)
    found = set() if tokenizer.pad_token_id == tokenizer.eos_token_id else {tokenizer.pad_token_id}
    if tokenizer is not processing:
        fields = model.config.to_dict().items()
        found |= {value for name, value in fields if PLACEHOLDER.search(name) and isinstance(value, int)}
    size = model.config.get_text_config().vocab_size
    return sorted(token for token in found if token is not None and 0 <= token < size)
