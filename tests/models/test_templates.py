"""A chat template is prepared once: no template, no system role, variables, turns that end, thoughts it opens."""

import json

import pytest
from transformers import AutoTokenizer

from gspo_lite import load_recipe
from gspo_lite.checked_recipe import recipe_from
from gspo_lite.completion.text import Layout, find_answer
from gspo_lite.data.inputs import prompt_text, thoughts_opened
from gspo_lite.errors import RecipeError
from gspo_lite.export.merge import merge
from gspo_lite.load_parts import generation_notes
from gspo_lite.models.generate import generate, judged_text
from gspo_lite.models.load import load_for_evaluation, load_model
from gspo_lite.models.templates import prepare_template, turn_end
from gspo_lite.recipe.schema import ModelSettings
from tests.models.chat_families import CHAT, FAMILIES, THINKER, build_tokenizer, write_family

DEFAULTS = {"do_sample": True, "temperature": 0.7, "top_k": 1, "min_p": 0.9, "no_repeat_ngram_size": 1}


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("none", ["it has no chat template: prompts are plain text after `<bos>`"]),
        ("gemma2", ["its chat template takes no system message: it is put before the first user message"]),
        ("mistral", ["its chat template takes no system message: it is put before the first user message"]),
        ("gemma3", []),
        ("qwen3", []),
    ],
)
def test_what_a_template_lacks_is_added_once_and_said(name, notes):
    tokenizer = build_tokenizer(FAMILIES[name])
    assert prepare_template(tokenizer, {}) == notes
    before = tokenizer.chat_template
    assert prepare_template(tokenizer, {}) == []
    assert tokenizer.chat_template == before


def test_the_date_of_today_is_said_until_one_is_fixed():
    assert prepare_template(build_tokenizer(FAMILIES["llama3"]), {}) == [
        "its chat template writes the date of today; model.chat_template_kwargs.date_string fixes one"
    ]
    assert prepare_template(build_tokenizer(FAMILIES["llama3"]), {"date_string": "1 Jan 2026"}) == []


def test_a_system_message_goes_before_the_first_question_only():
    tokenizer = build_tokenizer(FAMILIES["gemma2"])
    prepare_template(tokenizer, {})
    turns = [*CHAT, {"role": "assistant", "content": "4"}, {"role": "user", "content": "Sure?"}]
    assert prompt_text(tokenizer, {"prompt": turns}, {}) == (
        "<bos><start_of_turn>user\nBe brief.\n\n 2 + 2?<end_of_turn>\n<start_of_turn>model\n4<end_of_turn>\n"
        "<start_of_turn>user\nSure?<end_of_turn>\n<start_of_turn>model\n"
    )
    assert prompt_text(tokenizer, {"prompt": CHAT[1:]}, {}).count("Be brief.") == 0


def test_a_variable_that_the_template_does_not_read_is_warned_of(capsys):
    prepare_template(build_tokenizer(FAMILIES["qwen3"]), {"enable_thinking": False})
    assert capsys.readouterr().err == ""
    prepare_template(build_tokenizer(FAMILIES["qwen2.5"]), {"enable_thinking": False})
    assert "model.chat_template_kwargs.enable_thinking has no effect" in capsys.readouterr().err


def test_a_turn_ends_with_the_token_of_the_template():
    ends = {}
    for name, family in FAMILIES.items():
        tokenizer = build_tokenizer(family)
        prepare_template(tokenizer, family.kwargs)
        end = turn_end(tokenizer, family.kwargs)
        ends[name] = end and tokenizer.convert_ids_to_tokens(end)
    assert ends == {
        "qwen2.5": "<|im_end|>", "qwen3": "<|im_end|>", "llama3": "<|eot_id|>", "gemma2": "<end_of_turn>",
        "gemma3": "<end_of_turn>", "mistral": "</s>", "smollm2": "<|im_end|>", "phi": "<|end|>",
        "gpt_oss": "<|return|>", "none": None,
    }  # fmt: skip


def test_sampling_is_the_recipes_and_every_end_token_counts(tmp_path):
    recipe = load_recipe("quickstart", ["generation.max_completion_length=12"]).recipe
    folder = write_family(FAMILIES["gemma2"], tmp_path, **DEFAULTS)
    settings = ModelSettings(name=str(folder), load_in_4bit=False, dtype="float32")
    loaded = load_model(settings, "transformers")
    assert loaded.notes[2:] == ["completions end at `<eos>`, `<end_of_turn>`"]
    assert list(generation_notes(recipe, loaded)) == [
        "its own sampling defaults are not used, but the recipe's: temperature 0.7, top_k 1, min_p 0.9, "
        "no_repeat_ngram_size 1"
    ]
    for model in (loaded.model, load_for_evaluation(settings, None).model):
        assert {name: getattr(model.generation_config, name) for name in DEFAULTS} == dict.fromkeys(DEFAULTS)
    rows = [{"prompt": CHAT}] * 8
    assert len({tuple(ids) for ids in generate(loaded.model, loaded.processing_class, rows, recipe, 1.0)}) > 1


def test_an_exported_model_renders_and_ends_as_it_was_trained(tmp_path):
    folder = write_family(FAMILIES["gemma2"], tmp_path / "trained", do_sample=True, temperature=0.7)
    settings = ModelSettings(name=str(folder), load_in_4bit=False, full_finetuning=True)
    merge(settings, folder, tmp_path / "export")
    written = json.loads((tmp_path / "export" / "generation_config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "export")
    assert tokenizer.convert_ids_to_tokens(written["eos_token_id"]) == ["<eos>", "<end_of_turn>"]
    assert written["temperature"] == 0.7
    assert prompt_text(tokenizer, {"prompt": CHAT}, {}) == FAMILIES["gemma2"].prompt


def test_thoughts_that_the_prompt_opens_are_thoughts():
    tokenizer, layout = build_tokenizer(THINKER), Layout("boxed")
    prepare_template(tokenizer, {})
    assert thoughts_opened(tokenizer, layout, {}) == "<think>\n"
    assert thoughts_opened(tokenizer, Layout(thinking="reasoning"), {}) == ""
    assert thoughts_opened(build_tokenizer(FAMILIES["qwen3"]), layout, {"enable_thinking": False}) == ""
    decode = judged_text(tokenizer, layout, {})
    unclosed = decode(tokenizer.encode("so \\boxed{5}", add_special_tokens=False))
    assert unclosed == "<think>\nso \\boxed{5}"
    assert find_answer(unclosed, *layout) is None
    assert find_answer(decode(tokenizer.encode("so</think>\\boxed{5}", add_special_tokens=False)), *layout) == "5"


@pytest.mark.parametrize("name", ["tokenize", "add_generation_prompt", "tools"])
def test_arguments_of_the_rendering_are_refused(name):
    with pytest.raises(RecipeError, match=rf"model\.chat_template_kwargs\.{name}.* is an argument of apply_chat"):
        load_recipe("quickstart", [f"model.chat_template_kwargs={{{name}: false}}"])


def test_the_place_of_the_variables_is_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"is set by `model\.chat_template_kwargs`; set it there"):
        load_recipe("quickstart", ["training.extra={chat_template_kwargs: {enable_thinking: false}}"])
    (tmp_path / "theirs.json").write_text(
        json.dumps({"model_name_or_path": "m", "beta": 0.0, "chat_template_kwargs": {"enable_thinking": False}})
    )
    draft = recipe_from(tmp_path / "theirs.json").draft
    assert draft.get("model.chat_template_kwargs") == {"enable_thinking": False}
