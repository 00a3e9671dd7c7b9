"""The command lines that use an export elsewhere: vLLM, lm-eval, Ollama and llama.cpp's server. Runs nothing."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gspo_lite.export import llama_cpp, merge
from gspo_lite.export.forms import GGUF_BASE, GGUF_FILE, GGUF_LORA
from gspo_lite.models.adapters import read_config
from gspo_lite.models.names import resolve_name
from gspo_lite.recipe.schema import Recipe

VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what --max-lora-rank takes
MODELFILE = "Modelfile"
# By program: what its line gives, and where the program comes from.
PROGRAMS = {
    "vllm": ("an OpenAI API at http://127.0.0.1:8000/v1", "pip install vllm"),
    "lm_eval": ("accuracy on a public task", "pip install 'lm-eval[hf]'"),
    "llama-server": ("a chat page and an OpenAI API at http://127.0.0.1:8080", f"{llama_cpp.SOURCE}/releases"),
    "ollama": ("a chat in the terminal", "https://ollama.com/download"),
}


def commands_for(form: str, folder: Path, name: str, recipe: Recipe, system: str | None) -> list[str]:
    """Return the command lines that use an export in this folder.

    Args:
        name: of the run, by which a server knows the model.
        system: message that the model was trained with.
    """
    name = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._") or "gspo-lite"  # as Ollama wants one
    if form == "adapter" and not recipe.model.full_finetuning:
        return adapter_commands(folder, name, recipe, system)
    if form in ("adapter", "merged"):
        return [
            line("vllm", "serve", folder, *vllm_options(recipe, name)),
            lm_eval(recipe, system, pretrained=str(folder)),
        ]
    return gguf_commands(form, folder, name, recipe)


def adapter_commands(folder: Path, name: str, recipe: Recipe, system: str | None) -> list[str]:
    """Return the lines that load an adapter on its base; lm-eval cannot quantize the base of a 4-bit run."""
    trained, rank = merge.as_trained(recipe.model, folder), int(read_config(folder)["r"])
    base = resolve_name(trained.name)
    most = next((one for one in VLLM_RANKS if one >= rank), rank)
    serve = line(
        "vllm", "serve", base, "--enable-lora", "--max-lora-rank", most, "--lora-modules", f"{name}={folder}",
        "--tokenizer", folder, "--generation-config", folder,
        *(["--quantization", "bitsandbytes"] if recipe.model.load_in_4bit else []), *vllm_options(recipe),
    )  # fmt: skip
    if trained.narrow:
        return [serve]
    return [serve, lm_eval(recipe, system, pretrained=base, peft=str(folder), tokenizer=str(folder))]


def gguf_commands(form: str, folder: Path, name: str, recipe: Recipe) -> list[str]:
    """Return the lines for GGUF files; the one for Ollama only if a Modelfile could be written."""
    model = ["--model", folder / GGUF_FILE] if form == "gguf" else [
        "--model", folder / GGUF_BASE, "--lora", folder / GGUF_LORA,
    ]  # fmt: skip
    kwargs = recipe.model.chat_template_kwargs
    options: list[Any] = ["--jinja", "--ctx-size", recipe.model.max_seq_length, "--temp", 0]
    options += ["--chat-template-kwargs", json.dumps(kwargs)] if kwargs else []
    server = line("llama-server", *model, *options)
    if not (folder / MODELFILE).is_file():
        return [server]
    create = line("ollama", "create", name, "-f", folder / MODELFILE)
    return [server, f"{create} && {line('ollama', 'run', name)}"]


def vllm_options(recipe: Recipe, name: str | None = None) -> list[Any]:
    """Return vLLM's options for a recipe's prompts; `name` is that of the served model."""
    kwargs = recipe.model.chat_template_kwargs
    return [
        "--max-model-len", recipe.model.max_seq_length,
        *(["--served-model-name", name] if name else []),
        *(["--default-chat-template-kwargs", json.dumps(kwargs)] if kwargs else []),
    ]  # fmt: skip


def lm_eval(recipe: Recipe, system: str | None, **model: str) -> str:
    """Return the line that measures a model on a task of lm-eval's, computed in the run's own type."""
    kwargs, dtype = recipe.model.chat_template_kwargs, recipe.model.dtype
    arguments: dict[str, Any] = {**model, "dtype": dtype, **({"chat_template_args": kwargs} if kwargs else {})}
    options = ["--system_instruction", system] if system else []
    limit = f"max_gen_toks={recipe.generation.max_completion_length}"
    return line(
        "lm_eval", "--model", "hf", "--model_args", json.dumps(arguments), "--apply_chat_template", *options,
        "--gen_kwargs", limit, "--tasks", "gsm8k",
    )  # fmt: skip


def explained(commands: list[str]) -> Iterator[str]:
    """Yield each command line under what it gives, and where its program comes from if it is not here."""
    for command in commands:
        program = command.partition(" ")[0]
        gives, source = PROGRAMS[program]
        yield f"\n{program}: {gives}{'' if shutil.which(program) else f'; not on this machine yet: {source}'}"
        yield f"  {command}"


def line(*words: Any) -> str:
    """Return words as a shell reads them."""
    return shlex.join(map(str, words))
