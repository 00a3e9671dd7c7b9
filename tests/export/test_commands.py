"""The lines that use an export in other programs, as a shell reads them."""

import json
import shlex

import pytest

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.export.commands import commands_for


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 48, "base_model_name_or_path": "Qwen/Qwen3-4B"}))
    return tmp_path


def lines(form, folder, *settings, system=None):
    recipe = load_recipe("quickstart", ["model.name=Qwen/Qwen3-4B", "model.max_seq_length=512", *settings]).recipe
    return [shlex.split(line) for line in commands_for(form, folder, "My run", recipe, system)]


def test_an_adapter_is_served_with_its_own_tokenizer_and_a_rank_that_vllm_takes(folder):
    settings = ["model.load_in_4bit=false", "model.dtype=bfloat16"]
    serve, measure = lines("adapter", folder, *settings, system='Say "hi".')
    assert serve == [
        "vllm", "serve", "Qwen/Qwen3-4B", "--enable-lora", "--max-lora-rank", "64",
        "--lora-modules", f"my-run={folder}", "--tokenizer", str(folder), "--generation-config", str(folder),
        "--max-model-len", "512",
    ]  # fmt: skip
    assert measure[:4] == ["lm_eval", "--model", "hf", "--model_args"]
    assert json.loads(measure[4]) == {
        "pretrained": "Qwen/Qwen3-4B", "peft": str(folder), "tokenizer": str(folder), "dtype": "bfloat16",
    }  # fmt: skip
    assert measure[5:] == [
        "--apply_chat_template", "--system_instruction", 'Say "hi".', "--gen_kwargs", "max_gen_toks=48",
        "--tasks", "gsm8k",
    ]  # fmt: skip


def test_the_base_of_a_4_bit_run_is_quantized_by_vllm_and_not_by_lm_eval(folder):
    (serve,) = lines("adapter", folder, "model.load_in_4bit=true")
    assert serve[-4:] == ["--quantization", "bitsandbytes", "--max-model-len", "512"]


def test_a_merged_model_is_served_and_measured_as_any_other(folder):
    serve, measure = lines("merged", folder, "model.chat_template_kwargs={enable_thinking: false}")
    assert serve == [
        "vllm", "serve", str(folder), "--max-model-len", "512", "--served-model-name", "my-run",
        "--default-chat-template-kwargs", '{"enable_thinking": false}',
    ]  # fmt: skip
    assert json.loads(measure[4]) == {
        "pretrained": str(folder), "dtype": "float32", "chat_template_args": {"enable_thinking": False},
    }  # fmt: skip


def test_gguf_files_are_served_by_llama_cpp_and_by_ollama_where_there_is_a_modelfile(folder):
    kwargs = "model.chat_template_kwargs={enable_thinking: false}"
    shared = ["--jinja", "--ctx-size", "512", "--temp", "0", "--chat-template-kwargs", '{"enable_thinking": false}']
    assert lines("gguf", folder, kwargs) == [["llama-server", "--model", str(folder / "model.gguf"), *shared]]
    (folder / "Modelfile").touch()
    server, ollama = lines("gguf-lora", folder, kwargs)
    files = ["--model", str(folder / "base.gguf"), "--lora", str(folder / "adapter.gguf")]
    assert server == ["llama-server", *files, *shared]
    create = ["ollama", "create", "my-run", "-f", str(folder / "Modelfile")]
    assert ollama == [*create, "&&", "ollama", "run", "my-run"]
