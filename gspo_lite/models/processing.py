"""Loads the tokenizer or processor of a model, with its weights or before them. Must not know training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gspo_lite.models.continued import staged
from gspo_lite.models.kinds import auto_class, ready
from gspo_lite.models.names import explain, resolve_name
from gspo_lite.recipe.schema import ModelSettings

TOKENIZER = "tokenizer_config.json"


def processing_of(name: str, settings: ModelSettings, images: bool, adapter: Path | None) -> tuple[Any, Any, Any]:
    """Return tokenizer or processor of a model, its configuration, and the class that loads it."""
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

    config = AutoConfig.from_pretrained(name, trust_remote_code=settings.trust_remote_code)
    loader = auto_class(config, settings.name, images)
    processor_class = AutoProcessor if loader is AutoModelForImageTextToText else AutoTokenizer
    own = adapter is not None and processor_class is AutoTokenizer and (adapter / TOKENIZER).is_file()
    source = adapter if own else name
    processing = ready(processor_class.from_pretrained(source, trust_remote_code=settings.trust_remote_code))
    return processing, config, loader


def load_processing(settings: ModelSettings, images: bool = False) -> Any:
    """Return the tokenizer or processor of a model, without its weights."""
    name = resolve_name(settings.name)
    with staged(settings, name) as adapter:
        try:
            return processing_of(name, settings, images, adapter)[0]
        except (OSError, ValueError, RuntimeError) as error:
            raise explain(error, settings.name) from error
