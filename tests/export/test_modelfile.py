"""Ollama's Modelfile: what it says, and that its template writes every chat as the model's own does."""

import json
import re
import shutil
import subprocess

import pytest

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.data.inputs import prompt_text
from gspo_lite.export.modelfile import frame_of, modelfile
from gspo_lite.models.templates import prepare_template
from tests.models.chat_families import FAMILIES, THINKER, build_tokenizer

DEAF = "{% for message in messages %}{{ message.role + ': ' }}{% endfor %}"
COUNTS = "{% for message in messages %}{{ loop.index ~ message.content }}{% endfor %}"
CHATS = [
    [{"role": "user", "content": "2 + 2?"}],
    [{"role": "system", "content": "Be {{ brief }}."}, {"role": "user", "content": "2 + 2?"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "Sure?"},
    ],
]
# Ollama hands a template the chat, and the system messages once more on their own.
GO = """package main

import (
	"encoding/json"
	"os"
	"text/template"
)

type Message struct{ Role, Content string }

func main() {
	var asked struct {
		Template string
		Chats    [][]Message
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	parsed := template.Must(template.New("").Option("missingkey=zero").Parse(asked.Template))
	for _, chat := range asked.Chats {
		system := ""
		if chat[0].Role == "system" {
			system = chat[0].Content
		}
		if err := parsed.Execute(os.Stdout, map[string]any{"System": system, "Messages": chat}); err != nil {
			panic(err)
		}
		os.Stdout.WriteString("\\x00")
	}
}
"""


def of_family(family, system=None):
    tokenizer = build_tokenizer(family)
    prepare_template(tokenizer, family.kwargs)
    settings = [f"model.chat_template_kwargs={json.dumps(family.kwargs)}", "generation.repetition_penalty=1.1"]
    settings += ["model.max_seq_length=512", "generation.max_completion_length=32"]
    recipe = load_recipe("quickstart", settings).recipe
    ends = tokenizer.convert_tokens_to_ids(list(family.ends))
    return tokenizer, modelfile(tokenizer, ends, system, recipe, ["FROM ./model.gguf"])


def test_a_modelfile_has_template_end_tokens_and_the_settings_of_the_evaluation():
    _, text = of_family(FAMILIES["qwen3"], "Be brief.")
    assert text == (
        "FROM ./model.gguf\n"
        'TEMPLATE """{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n<|im_start|>user\n'
        "{{ else }}<|im_start|>user\n{{ end }}"
        "{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}"
        '{{ if eq .Role "user" }}{{ .Content }}{{ if $last }}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n'
        "{{ else }}<|im_end|>\n<|im_start|>assistant\n{{ end }}"
        '{{ else if eq .Role "assistant" }}{{ .Content }}{{ if not $last }}<|im_end|>\n<|im_start|>user\n{{ end }}'
        '{{ end }}{{ end }}"""\n'
        'SYSTEM """Be brief."""\n'
        'PARAMETER stop """<|im_end|>"""\n'
        'PARAMETER stop """<|endoftext|>"""\n'
        "# As the held-out problems were answered: greedy, and without the penalty that is Ollama's default.\n"
        "PARAMETER temperature 0\n"
        "PARAMETER repeat_penalty 1.1\n"
        "PARAMETER num_ctx 512\n"
        "PARAMETER num_predict 32\n"
    )


def test_bos_is_left_to_llama_cpp_which_writes_it_itself():
    for name, first in (("gemma3", "<start_of_turn>"), ("smollm2", "<|im_start|>")):  # the latter's bos is no bos
        _, text = of_family(FAMILIES[name])
        assert re.search(r'TEMPLATE """\{\{ if \.System \}\}(<[^>]+>)', text)[1] == first
        assert "SYSTEM" not in text


@pytest.mark.parametrize("template", [DEAF, COUNTS, "{{ raise_exception('no') }}"])
def test_a_template_that_is_no_frame_gives_no_modelfile(template):
    tokenizer = build_tokenizer(FAMILIES["qwen3"])
    tokenizer.chat_template = template
    assert modelfile(tokenizer, [], None, load_recipe("quickstart").recipe, []) is None


def test_a_text_with_three_quotes_gives_no_modelfile():
    assert of_family(FAMILIES["qwen3"], 'Say """ twice')[1] is None


def test_a_frame_that_another_chat_contradicts_is_none():
    def render(chat):
        return "".join(f"[{one['content']}]" for one in chat) + ("!" if len(chat) > 4 else "")

    assert frame_of(render) is None
    assert frame_of(lambda chat: render(chat).rstrip("!")) is not None


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go, in whose templates Ollama writes chats")
@pytest.mark.parametrize("family", [*FAMILIES.values(), THINKER], ids=[*FAMILIES, "thinker"])
def test_go_writes_chats_as_the_models_own_template_does(family, tmp_path):
    tokenizer, text = of_family(family)
    assert text is not None
    template = re.search(r'TEMPLATE """(.*?)"""', text, re.DOTALL)[1]
    (tmp_path / "main.go").write_text(GO)
    asked = json.dumps({"Template": template, "Chats": CHATS})
    done = subprocess.run(["go", "run", tmp_path / "main.go"], input=asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    bos = family.bos if family.adds_bos else ""
    wanted = [prompt_text(tokenizer, {"prompt": chat}, family.kwargs).removeprefix(bos) for chat in CHATS]
    assert done.stdout.split("\0")[:-1] == wanted
