"""The conversation with llama.cpp's server, with a small server of our own in its place."""

import json
import os
import stat
import sys

import pytest
import torch

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.errors import RunError
from gspo_lite.export import llama_server

SERVER = """#!{python}
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
print(json.dumps([os.getpid(), words]), file=open({log!r}, "w"), flush=True)
loading = [2]

class Handler(BaseHTTPRequestHandler):
    def tell(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self):
        loading[0] -= 1
        self.tell(503 if loading[0] >= 0 else 200, {{}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/apply-template":
            text = body["messages"][0]["content"] + json.dumps(body["chat_template_kwargs"])
            return self.tell(200, {{"prompt": text}})
        if body.pop("prompt") != "hi" + json.dumps({{"enable_thinking": False}}):
            return self.tell(400, {{"error": "another prompt"}})
        self.tell(200, {{"tokens": [body["n_predict"], body["temperature"], body["repeat_penalty"], 7]}})

    def log_message(self, *words):
        pass

HTTPServer((words["--host"], int(words["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def recipe():
    settings = ["model.chat_template_kwargs={enable_thinking: false}", "generation.repetition_penalty=1.25"]
    return load_recipe("quickstart", [*settings, "generation.max_completion_length=24"]).recipe


def put(folder, monkeypatch, text):
    file = folder / "llama-server"
    file.write_text(text)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("LLAMA_CPP", str(folder))


def test_a_chat_is_asked_as_a_chat_program_would_and_the_server_is_ended(tmp_path, monkeypatch, recipe):
    log = tmp_path / "started"
    put(tmp_path, monkeypatch, SERVER.format(python=sys.executable, log=str(log)))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # must not be asked
    monkeypatch.setenv("no_proxy", "")
    with llama_server.serving(tmp_path / "model.gguf", tmp_path / "adapter.gguf", 99) as address:
        assert llama_server.complete(address, [{"role": "user", "content": "hi"}], recipe) == [24, 0, 1.25, 7]
        with pytest.raises(RunError, match=r"did not answer .*/completion: .*another prompt"):
            llama_server.complete(address, [{"role": "user", "content": "ho"}], recipe)
    pid, words = json.loads(log.read_text())
    assert words.pop("--threads") == str(torch.get_num_threads())
    words.pop("--port")
    assert words == {
        "--model": str(tmp_path / "model.gguf"), "--lora": str(tmp_path / "adapter.gguf"),
        "--host": "127.0.0.1", "--ctx-size": "99",
    }  # fmt: skip
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_ends_by_itself_is_told_with_its_last_line(tmp_path, monkeypatch):
    put(
        tmp_path,
        monkeypatch,
        f"#!{sys.executable}\nimport sys\nprint('loading')\nsys.exit('unknown architecture')",
    )
    with (
        pytest.raises(RunError, match=r"did not load `model\.gguf`: unknown architecture"),
        llama_server.serving("model.gguf", None, 99),
    ):
        pass
