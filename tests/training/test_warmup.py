"""The supervised warm-up: what it learns from, that it is measured apart, and resuming from it."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from gspo_lite import load_recipe
from gspo_lite.data.sources import load_problems
from gspo_lite.errors import DataError, RecipeError
from gspo_lite.run import run
from gspo_lite.training.examples import IGNORED, completion_of, load_examples
from tests.models.chat_families import FAMILIES, build_tokenizer

SHORT = [
    "model.load_in_4bit=false", "data.eval.limit=32", "data.limit=64", "training.max_steps=4", "training.save_steps=2",
    "training.per_device_train_batch_size=8", "warmup.max_steps=12", "warmup.learning_rate=3.0e-4",
]  # fmt: skip


def recipe_of(folder, *more):
    return load_recipe("quickstart_warmup", [*SHORT, *more], output=str(folder), allow_outside=True).recipe


def tokenizer_of(starter):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(starter)


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def test_only_the_completion_and_its_end_are_learned(starter, tmp_path):
    recipe, tokenizer = recipe_of(tmp_path), tokenizer_of(starter)
    problems = load_problems(recipe.data)
    examples = load_examples(recipe, recipe.warmup, problems, tokenizer)
    first, problem = examples[0], problems.train[0]
    learned = [token for token in first["labels"] if token != IGNORED]
    expected = f"<think>{problem['steps']}</think><answer>{problem['answer']}</answer><|end|>"
    assert tokenizer.decode(learned) == expected
    assert tokenizer.decode(first["input_ids"]).endswith(f"{problem['prompt'][-1]['content']}<|assistant|>{expected}")
    assert len(examples) == 64


def test_an_example_goes_on_where_the_prompt_ends_and_ends_as_a_turn_does(tmp_path):
    recipe, tokenizer = recipe_of(tmp_path), build_tokenizer(FAMILIES["gemma3"])
    tokenizer.chat_template += "{% if add_generation_prompt %}{{ '<think>\n' }}{% endif %}"
    problems = load_problems(recipe.data)
    first, problem = load_examples(recipe, recipe.warmup, problems, tokenizer)[0], problems.train[0]
    steps, answer = problem["steps"], problem["answer"]
    end = f"model\n<think>\n{steps}</think><answer>{answer}</answer><end_of_turn>"
    assert tokenizer.decode(first["input_ids"]).endswith(end)


def test_held_out_problems_are_no_examples(starter, tmp_path):
    rows = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(20)]
    files = [tmp_path / "train.jsonl", tmp_path / "test.jsonl"]
    for path, part in zip(files, (rows, rows[:5]), strict=True):
        path.write_text("".join(json.dumps(row) + "\n" for row in part))
    data = [f"data.source={files[0]}", f"data.eval.source={files[1]}", "data.columns.prompt=question"]
    more = [*data, "warmup.completion=<answer>{answer}</answer>", f"warmup.source={files[0]}"]
    recipe, tokenizer = recipe_of(tmp_path / "run", *more), tokenizer_of(starter)
    examples = load_examples(recipe, recipe.warmup, load_problems(recipe.data), tokenizer)
    texts = [tokenizer.decode(ids) for ids in examples["input_ids"]]
    assert len(texts) == 15
    assert not any("What is 3 + 1?" in text for text in texts)


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match=r"`warmup\.completion`: there is no column `stepz`; the row has `answer`"):
        completion_of("<answer>{stepz}</answer>", {"answer": "3"})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("warmup.completion=<answer>3</answer>", "must name at least one column of a row in braces"),
        ("warmup.completion='<answer>{answer</answer>'", "is not text with columns in braces"),
        ("model.full_finetuning=true", "trains the adapter, but full_finetuning has none"),
    ],
)
def test_a_warmup_that_cannot_work_is_refused(override, message, tmp_path):
    with pytest.raises(RecipeError, match=message):
        recipe_of(tmp_path, override)


@pytest.mark.parametrize(
    ("style", "completion", "form"),
    [
        ("think_answer", "{answer}", "<think>..</think><answer>..</answer>"),
        ("think_answer", "<think>{steps}<answer>{answer}</answer>", "<think>..</think><answer>..</answer>"),
        ("think_answer", "<think>{steps}</think><answer>{answer}</answer>", None),
        ("boxed", "\\boxed{answer}", ".. So the answer is \\boxed{..}."),  # becomes \boxed42
        ("boxed", "\\boxed{{{answer}}}", None),
        ("plain", "{answer}", None),
    ],
)
def test_a_completion_without_the_form_is_warned_about(style, completion, form):
    warnings = load_recipe("quickstart_warmup", [f"data.prompt={style}", f"warmup.completion='{completion}'"]).warnings
    said = f"`warmup.completion`: has no answer where data.prompt `{style}` asks for it, as in `{form}`"
    assert [line for line in warnings if line.startswith("`warmup")] == ([said] if form else [])


def test_the_warmup_is_measured_apart_and_resumed_from(starter, tmp_path, capsys):
    whole = run(recipe_of(tmp_path / "whole"))
    figures = json.loads((whole.folder / "eval.json").read_text())
    assert list(figures) == ["before", "warmed", "after"]
    assert figures["warmed"]["accuracy"] > figures["before"]["accuracy"]
    assert "The supervised warm-up alone reached" in str(whole)
    assert sum(float(w.abs().sum()) for name, w in weights(whole.folder / "warmup").items() if "lora_B" in name) > 0

    cut = tmp_path / "cut"  # as if killed after the warm-up, before the first checkpoint
    shutil.copytree(whole.folder, cut)
    for name in ("checkpoints", "adapter"):
        shutil.rmtree(cut / name)
    capsys.readouterr()
    run(recipe_of(cut), resume=True)
    said = capsys.readouterr().err
    assert "was done before" in said
    assert "supervised steps" not in said
    first, second = weights(whole.folder / "adapter"), weights(cut / "adapter")
    assert all(torch.equal(first[name], second[name]) for name in first)
