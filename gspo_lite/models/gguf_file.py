"""Turns a GGUF file into an ordinary model folder, once: dequantised weights, fast tokenizer, chat template.

    cache/gguf-<sha256 of the file>-<version of this conversion>/config.json, model.safetensors, tokenizer.json, ...

Everything else loads this folder. transformers can load a GGUF file itself, but cannot save what it loaded, and gives
some files a wrong end token and others a tokenizer without merges; Unsloth does not know such files.
Owns reading, conversion and cache. Must not know recipes.
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gspo_lite.errors import GspoLiteError, MachineError, UsageError, first_line
from gspo_lite.models.gguf_tokenizer import build_tokenizer, end_ids, special_ids
from gspo_lite.system.cache import cache_home, made_whole
from gspo_lite.system.say import say

SUFFIX = ".gguf"
ORIGIN = "gguf.json"  # in the folder: the name and the sha256 of the file
CONVERSION = 1  # to be raised whenever the same file would become another folder
INSTALL = "install it with `pip install gguf`"
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma3")  # those whose folder was compared with the original model
# transformers' name of a size and the file's; a file leaves out what follows from the others.
SIZES = {
    "hidden_size": "embedding_length", "intermediate_size": "feed_forward_length", "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count", "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length", "sliding_window": "attention.sliding_window",
}  # fmt: skip


def is_gguf(name: str) -> bool:
    """Return whether a model's name spells a GGUF file."""
    return name.lower().endswith(SUFFIX)


def folder_of(file: Path, shown: str) -> Path:
    """Return the folder with the model of a GGUF file, converted first if it is not in the cache yet.

    Args:
        shown: the model's name in messages.

    Raises:
        UsageError: there is no such file, it is damaged, or it holds another kind of model.
        MachineError: the package that reads it is missing.
    """
    refuse_missing(file, shown)
    digest = sha256(file)
    folder = cache_home() / f"gguf-{digest[:16]}-{CONVERSION}"
    if not folder.is_dir():
        fields = metadata(file, shown)
        say(f"converting {file.name} to a model folder (once; it stays in {folder.parent}) ...")
        try:
            with made_whole(folder) as unfinished:
                convert(file, fields, unfinished)
                (unfinished / ORIGIN).write_text(json.dumps({"file": file.name, "sha256": digest}), encoding="utf-8")
        except GspoLiteError as error:
            raise UsageError(f"`model.name` `{shown}` cannot be converted: {error.message}", error.hint) from error
        except (KeyError, ValueError, RuntimeError) as error:
            raise UsageError(f"`model.name` `{shown}` cannot be converted: {first_line(error)}") from error
    return folder


def refuse_missing(file: Path, shown: str) -> None:
    """Raise UsageError if there is no such file."""
    if not file.is_file():
        raise UsageError(f"`model.name`: there is no file `{shown}`", "a path is relative to the current folder")


def sha256_of(folder: str) -> str | None:
    """Return the sha256 of the file that a folder was converted from; None for any other model."""
    path = Path(folder) / ORIGIN
    return json.loads(path.read_text(encoding="utf-8"))["sha256"] if path.is_file() else None


def sha256(file: Path) -> str:
    """Return the sha256 of a file of any size."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()


def opened(file: Path, shown: str) -> Any:
    """Return gguf's reader of a file; refuse one that is missing, damaged or cut off."""
    refuse_missing(file, shown)
    if find_spec("gguf") is None:
        raise MachineError(f"`model.name` `{shown}`: the package gguf, which reads it, is not installed", INSTALL)
    from gguf import GGUFReader

    try:
        return GGUFReader(file)
    except Exception as error:  # of numpy, struct or gguf itself, depending on where the file ends
        raise UsageError(f"`model.name` `{shown}` is no whole GGUF file: {first_line(error)}") from error


def metadata(file: Path, shown: str) -> dict[str, Any]:
    """Return the metadata of a GGUF file of a known architecture, as plain values."""
    fields = {name: field.contents() for name, field in opened(file, shown).fields.items()}
    architecture = fields.get("general.architecture")
    if architecture not in ARCHITECTURES:
        known = ", ".join(f"`{name}`" for name in ARCHITECTURES)
        raise UsageError(f"`model.name` `{shown}` holds a model of the kind `{architecture}`; known are {known}")
    if fields.get("general.type", "model") != "model":  # an adapter, or the eyes of a vision-language model
        raise UsageError(f"`model.name` `{shown}` is of the type `{fields['general.type']}`, not `model`")
    if fields.get("split.count", 1) > 1:
        hint = "join them: `llama-gguf-split --merge FIRST.gguf WHOLE.gguf`"
        raise UsageError(f"`model.name` `{shown}` is one of {fields['split.count']} parts of a model", hint)
    return fields


def config_of(file: Path, shown: str) -> dict[str, Any]:
    """Return the sizes of a model as its config.json has them, without converting it or importing transformers."""
    fields = metadata(file, shown)
    kind = fields["general.architecture"]
    sizes = {name: fields.get(f"{kind}.{own}") for name, own in SIZES.items()}
    tied = all(tensor.name != "output.weight" for tensor in opened(file, shown).tensors)
    return {
        "model_type": "gemma3_text" if kind == "gemma3" else kind,
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": tied,
        **{name: value for name, value in sizes.items() if value is not None},
    }


def convert(file: Path, fields: dict[str, Any], folder: Path) -> None:
    """Write model and tokenizer of a GGUF file to a folder."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = build_tokenizer(fields)  # first: it is what most often is not known
    dtype = getattr(torch, stored_type(file))
    config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name).to_dict()
    ids = special_ids(fields)
    config |= config_of(file, file.name)  # transformers does not read the head size of every kind
    config |= {"dtype": dtype, "bos_token_id": ids.get("bos"), "pad_token_id": ids["pad"], "eos_token_id": ids["eos"]}
    known = {"config": AutoConfig.for_model(**config), "dtype": dtype}
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, **known)
    # transformers does not save a model that it dequantised, so the weights move to one that it did not.
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), dtype=dtype)
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    ends = end_ids(fields)
    model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    model.generation_config.pad_token_id = ids["pad"]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def stored_type(file: Path) -> str:
    """Return the number type that holds a file's weights without loss, or bfloat16 for quantised ones."""
    matrices = {tensor.tensor_type.name for tensor in opened(file, file.name).tensors if len(tensor.shape) > 1}
    return {"F32": "float32", "F16": "float16"}.get(matrices.pop(), "bfloat16") if len(matrices) == 1 else "bfloat16"
