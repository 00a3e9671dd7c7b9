"""Asks a GGUF file through llama.cpp's own server: by the template, the tokenizer and the arithmetic of llama.cpp.

What it answers is what `llama-server`, and a program on top of it, answer elsewhere. Must not know how it was written.
"""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gspo_lite.data.inputs import prompt_length
from gspo_lite.errors import RunError
from gspo_lite.export import llama_cpp
from gspo_lite.models.generate import Answer, cut, judged_text
from gspo_lite.recipe.schema import Recipe

HERE = "127.0.0.1"
LOADING, ANSWERING = 600.0, 600.0  # longest waits, in seconds


def answers(
    model: Path, lora: Path | None, processing: Any, ends: set[int], rows: list[dict[str, Any]], recipe: Recipe
) -> list[Answer]:
    """Return one greedy completion per row, as `models.generate.answer` does.

    Args:
        model: a GGUF file; `lora` is one with an adapter for it.
        processing: its tokenizer, which turns the tokens into the text that is judged.
        ends: tokens that end a completion.
    """
    kwargs, longest = recipe.model.chat_template_kwargs, recipe.generation.max_completion_length
    room = max(prompt_length(processing, row, kwargs) for row in rows) + longest + 8
    decode = judged_text(processing, recipe.data.layout, kwargs)
    with serving(model, lora, room) as address:
        found = [complete(address, row["prompt"], recipe) for row in rows]
    return [Answer(decode(ids), ids) for ids in (cut(one, ends) for one in found)]


def complete(address: str, chat: list[dict[str, Any]], recipe: Recipe) -> list[int]:
    """Return the tokens of a greedy completion, by the two steps of `/v1/chat/completions`, which only tells text."""
    kwargs, generation = recipe.model.chat_template_kwargs, recipe.generation
    prompt = posted(f"{address}/apply-template", {"messages": chat, "chat_template_kwargs": kwargs})["prompt"]
    wanted = {
        "prompt": prompt, "n_predict": generation.max_completion_length, "return_tokens": True, "cache_prompt": False,
        "temperature": 0, "repeat_penalty": generation.repetition_penalty, "repeat_last_n": recipe.model.max_seq_length,
    }  # fmt: skip
    return list(posted(f"{address}/completion", wanted)["tokens"])


@contextmanager
def serving(model: Path, lora: Path | None, context: int) -> Iterator[str]:
    """Run llama.cpp's server on this machine; yield its address once the model is loaded, and end it.

    It has the threads that torch has: its own choice, all cores, is several times slower where one of them is busy.

    Raises:
        RunError: it ended by itself, or did not come up in time.
    """
    import torch

    port = free_port()
    words = ["--model", str(model), "--host", HERE, "--port", str(port), "--ctx-size", str(context)]
    words += ["--threads", str(torch.get_num_threads())]
    words += ["--lora", str(lora)] if lora else []
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(
            [*llama_cpp.find(llama_cpp.SERVER), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            address = f"http://{HERE}:{port}"
            if not came_up(process, address):
                log.seek(0)
                said = (log.read().strip() or "nothing was printed").splitlines()[-1]
                raise RunError(f"llama.cpp's server did not load `{model}`: {said}")
            yield address
        finally:
            process.kill()
            process.wait()


def came_up(process: subprocess.Popen[Any], address: str) -> bool:
    """Wait until the server says that its model is loaded; return False if it ended or took too long."""
    deadline = time.monotonic() + LOADING
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with opened(f"{address}/health", 5):
                return True
        except OSError:  # not listening yet, or still loading: status 503
            time.sleep(0.1)
    return False


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as one:
        one.bind((HERE, 0))
        return int(one.getsockname()[1])


def posted(address: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the server's JSON answer to a request; raise RunError with its message if it refuses."""
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with opened(request, ANSWERING) as answer:
            return dict(json.load(answer))
    except OSError as error:
        said = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else str(error)
        raise RunError(f"llama.cpp's server did not answer {address}: {said}") from error


def opened(request: str | urllib.request.Request, seconds: float) -> Any:
    """Return the open answer of a server on this machine, which no proxy of the environment is asked for."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=seconds)
