"""An exported adapter in real vLLM: served by the line that the export prints, asked over HTTP.

Needs the environment that setup.sh makes; elsewhere everything here is skipped.
"""

import json
import os
import shlex
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from gspo_lite.export.llama_server import came_up, free_port
from tests.vllm.test_colocate import has_cpu_build

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not has_cpu_build(), reason="needs the environment of tests/vllm/setup.sh"),
]
QUICK = ["training.max_steps=40", "model.load_in_4bit=false", "model.dtype=float32", "data.eval.limit=100"]
ON_A_CPU = ["--dtype", "float32", "--enforce-eager", "--host", "127.0.0.1", "--max-num-seqs", "8"]
GREEDY = {"temperature": 0, "max_tokens": 48, "skip_special_tokens": False}
JSON = {"Content-Type": "application/json"}
ENVIRONMENT = {
    **os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
}  # fmt: skip


def gspo_lite(*words):
    command = [sys.executable, "-m", "gspo_lite", *map(str, words)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def exported(tmp_path_factory, starter):
    """A run folder with its exported adapter."""
    run = tmp_path_factory.mktemp("serving") / "served"
    gspo_lite("run", "quickstart", "--output", run, *(word for one in QUICK for word in ("--set", one)))
    gspo_lite("export", run, "--to", "adapter", "--set", "data.eval.limit=100")
    return run


def all_asked(address, model, samples):
    def asked(one):
        body = {"model": model, "messages": one["prompt"], **GREEDY}
        request = urllib.request.Request(f"{address}/v1/chat/completions", json.dumps(body).encode(), JSON)
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)["choices"][0]["message"]["content"]

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(asked, samples))


def test_the_printed_line_serves_the_adapter_and_it_answers_as_after_training(exported):
    told = json.loads((exported / "export-adapter" / "export.json").read_text())
    words, port = shlex.split(told["commands"][0]), free_port()
    assert words[:2] == ["vllm", "serve"]
    # The program `vllm` wants a package of that name, which the CPU build does not have; this is what it starts.
    program = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", *words[2:]]
    program += [*ON_A_CPU, "--port", str(port)]
    recorded = map(json.loads, (exported / "eval_samples.jsonl").read_text().splitlines())
    samples = [one for one in recorded if one["phase"] == "after"]
    with (exported / "served.log").open("w") as log:
        server = subprocess.Popen(program, env=ENVIRONMENT, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            assert came_up(server, address), (exported / "served.log").read_text()[-3000:]
            answers = {model: all_asked(address, model, samples) for model in ("served", words[2])}
        finally:
            server.terminate()
            server.wait(60)
    same = {
        model: sum(text == one["completion"] for text, one in zip(texts, samples, strict=True)) / len(samples)
        for model, texts in answers.items()
    }
    print("same completions by vLLM:", same)
    assert len(samples) == 100
    assert same["served"] >= 0.98
    assert same[words[2]] < 0.9  # the base alone, so the adapter was applied
