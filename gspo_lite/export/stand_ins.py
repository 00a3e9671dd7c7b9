"""Stands in for `llama-quantize` and `llama-server` where only the packages with llama.cpp's libraries are.

    python -m gspo_lite.export.stand_ins llama-quantize MODEL.gguf QUANTIZED.gguf q4_k_m
    python -m gspo_lite.export.stand_ins llama-server --model MODEL.gguf --lora ADAPTER.gguf --port 8080

Takes the arguments that `llama_cpp` and `llama_server` give to the programs; without any, a library is only loaded. A
process of its own, so that what the libraries print, and a crash of theirs, stay outside the caller.
"""

from __future__ import annotations

import argparse
import sys
import threading

from gspo_lite.export.llama_cpp import QUANTIZER, SERVER


def quantize(words: list[str]) -> int:
    """Write a GGUF file with its weights in another type; return the exit code."""
    from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

    ffi, library = get_ffi(), get_lib()
    if not words:
        return 0
    source, target, outtype = words
    wanted = ffi.new("llama_model_quantize_params *", library.llama_model_quantize_default_params())
    wanted.ftype = getattr(library, f"LLAMA_FTYPE_MOSTLY_{outtype.upper()}")
    return int(library.llama_model_quantize(source.encode(), target.encode(), wanted))


def serve(words: list[str]) -> int:
    """Serve a model over HTTP until the process is ended; return the exit code."""
    import xllamacpp

    if not words:
        return 0
    parser = argparse.ArgumentParser(prog=SERVER)
    for name in ("--model", "--lora", "--host"):
        parser.add_argument(name)
    for name in ("--port", "--ctx-size", "--threads"):
        parser.add_argument(name, type=int)
    given = parser.parse_args(words)
    wanted = xllamacpp.CommonParams()
    wanted.model.path, wanted.hostnames, wanted.port = given.model, [given.host], given.port
    wanted.n_ctx, wanted.n_parallel, wanted.use_jinja = given.ctx_size, 1, True
    wanted.cpuparams.n_threads = given.threads
    if given.lora:
        wanted.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(given.lora, 1.0)]
    server = xllamacpp.Server(wanted)
    print(f"listening on {server.listening_address}", flush=True)
    threading.Event().wait()
    return 0


STAND_INS = {QUANTIZER: quantize, SERVER: serve}

if __name__ == "__main__":
    sys.exit(STAND_INS[sys.argv[1]](sys.argv[2:]))
