"""The forms that a trained model is exported to: how each is written, and how transformers loads it again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gspo_lite.errors import MachineError, UsageError
from gspo_lite.export import llama_cpp, merge
from gspo_lite.models.adapters import is_adapter, read_config
from gspo_lite.models.load import LoadedModel, load_for_evaluation
from gspo_lite.recipe.schema import Recipe

FORMS = ("adapter", "merged", "gguf", "gguf-lora")
GGUF_FORMS = FORMS[2:]
LEAST_AGREEMENT = 0.95
GGUF_FILE, GGUF_BASE, GGUF_LORA = "model.gguf", "base.gguf", "adapter.gguf"
FOR_RESUMING = ("*.pt", "*.pth", "trainer_state.json", "manifest.json", "gspo_state*.json", "rollout*.safetensors")
# What an adapter from elsewhere may have and a LoRA in GGUF cannot hold; a key's plain value is false or empty.
BEYOND_GGUF = ("use_dora", "use_rslora", "modules_to_save", "alpha_pattern", "trainable_token_indices")


@dataclass(frozen=True)
class Options:
    """Options of an export.

    Attributes:
        base: weights to merge an adapter into: `trained` or `original` (see `export.merge`).
        dtype: type of merged weights.
        outtype: type of weights in GGUF, as llama.cpp names it.
        prompts: number of held-out prompts in the round trip.
        least_agreement: smallest agreement at which the export passes; if None, 0.95, and a lossy one only warns.
    """

    base: str = "trained"
    dtype: str = "auto"
    outtype: str = "f16"
    prompts: int = 200
    least_agreement: float | None = None

    @property
    def required(self) -> float:
        """Return the agreement that a faithful export has."""
        return LEAST_AGREEMENT if self.least_agreement is None else self.least_agreement

    @property
    def lossy(self) -> bool:
        """Return whether weights in GGUF lose more than the rounding to 16 bits."""
        return self.outtype in llama_cpp.QUANTIZED


def refuse_unwritable(form: str, adapter: Path, options: Options, *, texts: bool) -> None:
    """Refuse an export that this machine, this adapter or the recipe does not allow.

    Args:
        texts: whether the prompts are single texts, as llama.cpp's server is asked; not images or conversations.

    Raises:
        MachineError: a tool is missing. UsageError: the adapter cannot be written in this form.
    """
    if form not in GGUF_FORMS:
        return
    if form == "gguf-lora" and not texts:
        raise UsageError("a LoRA in GGUF cannot be asked with images or tools", "export --to gguf instead")
    for tool in llama_cpp.tools_for(options.outtype):
        llama_cpp.find(tool)
    if form == "gguf-lora":
        for tool in (llama_cpp.LORA_CONVERTER, llama_cpp.SERVER):
            llama_cpp.find(tool)
        refuse_beyond_lora(adapter)
    elif not llama_cpp.at_hand(llama_cpp.SERVER) and find_spec("gguf") is None:
        raise MachineError(
            "nothing on this machine can read a GGUF file back: neither llama.cpp's server nor the package gguf",
            "`pip install xllamacpp`, or `pip install gguf`",
        )


def refuse_beyond_lora(adapter: Path) -> None:
    """Refuse a folder that holds no adapter, or one with more than the two matrices of LoRA."""
    if not is_adapter(adapter):
        raise UsageError(f"`{adapter}` has no adapter: every weight was trained", "export --to gguf instead")
    config = read_config(adapter)
    found = [f"`{key}`" for key in BEYOND_GGUF if config.get(key)]
    if found:
        raise UsageError(f"`{adapter}` has {', '.join(found)}, which GGUF cannot hold", "export --to gguf instead")


def write_adapter(recipe: Recipe, adapter: Path, folder: Path, options: Options) -> str:
    """Copy the adapter, with its tokenizer and without what a checkpoint has for resuming."""
    shutil.copytree(adapter, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*FOR_RESUMING))
    what = "every weight" if recipe.model.full_finetuning else "the adapter, for PEFT"
    return f"{folder}: {recipe.model.name}, {what}"


def write_merged(recipe: Recipe, adapter: Path, folder: Path, options: Options) -> str:
    """Write a model folder with the adapter merged into the weights."""
    found = merge.merge(recipe.model, adapter, folder, base=options.base, dtype=options.dtype)
    return f"{folder}: {recipe.model.name}, {found}"


def write_gguf(recipe: Recipe, adapter: Path, folder: Path, options: Options) -> str:
    """Write a GGUF file, converted from a merged model, and the tokenizer that Python programs need to read it."""
    with as_folder(recipe, adapter, folder, options, fold=True) as (merged, found):
        llama_cpp.write_model(merged, folder / GGUF_FILE, options.outtype)
    return f"{folder / GGUF_FILE}: {options.outtype}, from {found}"


def write_gguf_lora(recipe: Recipe, adapter: Path, folder: Path, options: Options) -> str:
    """Write the adapter as a GGUF file, and its base as another, on which it was compared."""
    with as_folder(recipe, adapter, folder, options, fold=False) as (base, found):
        llama_cpp.write_model(base, folder / GGUF_BASE, options.outtype)
        llama_cpp.write_lora(adapter, base, folder / GGUF_LORA)
    return f"{folder / GGUF_LORA}: the adapter, f32; {folder / GGUF_BASE}: {options.outtype}, from {found}"


@contextmanager
def as_folder(
    recipe: Recipe, adapter: Path, folder: Path, options: Options, *, fold: bool
) -> Iterator[tuple[Path, str]]:
    """Yield a temporary model folder for a converter and what it holds; keep its tokenizer and configuration."""
    dtype = llama_cpp.CONVERTED.get(options.outtype, "auto") if options.dtype == "auto" else options.dtype
    with tempfile.TemporaryDirectory(prefix=".merged-", dir=folder.parent) as place:
        model = Path(place)
        yield model, merge.merge(recipe.model, adapter, model, base=options.base, dtype=dtype, fold=fold)
        for file in model.iterdir():
            if file.suffix in (".json", ".jinja", ".model", ".txt") and "index" not in file.name:
                shutil.copy2(file, folder)


def read_adapter(recipe: Recipe, folder: Path, options: Options, vision: bool) -> LoadedModel:
    """Load the written adapter on the base it was trained on."""
    return load_for_evaluation(merge.as_trained(recipe.model, folder), folder, vision)


def read_merged(recipe: Recipe, folder: Path, options: Options, vision: bool) -> LoadedModel:
    """Load the merged model, to compute in the run's own type, as the adapter did: only weights may differ."""
    settings = merge.unquantized(recipe.model).model_copy(update={"name": str(folder)})
    return load_for_evaluation(settings, None, vision)


def read_gguf(recipe: Recipe, folder: Path, options: Options, vision: bool) -> LoadedModel:
    """Load the GGUF file, dequantized."""
    settings = merge.unquantized(recipe.model).model_copy(update={"name": str(folder)})
    return load_for_evaluation(settings, None, vision, gguf_file=GGUF_FILE)


WRITERS = {"adapter": write_adapter, "merged": write_merged, "gguf": write_gguf, "gguf-lora": write_gguf_lora}
READERS = {"adapter": read_adapter, "merged": read_merged, "gguf": read_gguf}
