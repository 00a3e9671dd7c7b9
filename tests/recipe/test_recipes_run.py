"""Every recipe for other data, a few steps of it on the starter with rows made here, and what is said about recipes."""

import json
import re
from pathlib import Path

import pytest

from gspo_lite import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.recipe.shipped import shipped_recipes
from gspo_lite.recipe.start import copy_recipe
from gspo_lite.rewards.contract.judging import judge_of, score, verdicts
from gspo_lite.run import run
from gspo_lite.sizing import plan as sizing_plan
from gspo_lite.sizing.plan import peak_of, plan, room_for
from tests.models.tiny_models import write_judge

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SCHEMA = json.dumps({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}})
ASK = [{"role": "system", "content": "Answer in JSON."}, {"role": "user", "content": "How many?"}]
TINY = [
    "model.name=starter", "model.backend=transformers", "model.load_in_4bit=false", "model.dtype=float32",
    "data.eval.limit=4", "generation.engine=transformers", "generation.num_generations=4",
    "generation.max_completion_length=16", "generation.max_prompt_length=700", "training.max_steps=4",
    "training.per_device_train_batch_size=4", "training.gradient_accumulation_steps=1",
    "training.steps_per_generation=4", "training.save_steps=null", "training.gradient_checkpointing=false",
]  # fmt: skip
ROWS = {
    "countdown": lambda n: {"nums": [n, 2, 3], "target": n + 5},
    "math_boxed": lambda n: {"problem": f"What is {n} + 1?", "solution": f"It is \\boxed{{{n + 1}}}.", "level": "1"},
    "multiple_choice": lambda n: {
        "question": f"Which is {n}?", "choices": {"text": [str(n), "no"], "label": ["1", "2"]}, "answerKey": "1",
    },
    "json_output": lambda n: {
        "prompt": [*ASK[:1], {"role": "user", "content": f"{n}?"}], "completion": "{}", "schema": SCHEMA,
    },
    "reward_model": lambda n: {"question": f"What is {n} + 1?", "answer": f"{n}+1=<<{n}+1={n + 1}>>\n#### {n + 1}"},
}  # fmt: skip
FIRST = {  # of the data set, with the answer
    "countdown": ("exactly once", "5"), "math_boxed": ("What is 0 + 1?", "1"),
    "multiple_choice": ("A. 0\nB. no", "A"), "json_output": ("0?", "{}"), "reward_model": ("What is 0 + 1?", "1"),
}  # fmt: skip


def tiny(name, folder, *more):
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(ROWS[name](n)) + "\n" for n in range(20)), encoding="utf-8")
    judge = [f"rewards.1.options.model={write_judge(folder / 'judge')}"] if name == "reward_model" else []
    overrides = [*TINY, f"data.source={path}", *judge, *more]
    return load_recipe(name, overrides, output=str(folder / "run"), allow_outside=True).recipe


@pytest.mark.parametrize("name", ROWS)
def test_a_recipe_trains_for_a_few_steps(name, tmp_path, starter):
    result = run(tiny(name, tmp_path))
    samples = [json.loads(line) for line in (result.folder / "eval_samples.jsonl").read_text().splitlines()]
    assert len(samples) == 2 * 2  # a tenth of the rows is held out, before and after
    assert len((result.folder / "metrics.jsonl").read_text().splitlines()) == 4
    assert set(result.evaluation["after"]["rewards"]) == {one.name for one in load_recipe(name).recipe.rewards}


@pytest.mark.parametrize("name", ["smollm2_json", "word_problems"])
def test_a_recipe_on_embedded_rows_trains_for_a_few_steps(name, tmp_path, starter):
    overrides = [*TINY, "model.max_seq_length=1024", "data.limit=32"]
    overrides += ["warmup.limit=8", "warmup.max_steps=2"] if name == "word_problems" else []
    result = run(load_recipe(name, overrides, output=str(tmp_path / "run")).recipe)
    assert len((result.folder / "metrics.jsonl").read_text().splitlines()) == 4
    assert set(result.evaluation["after"]["rewards"]) == {one.name for one in load_recipe(name).recipe.rewards}


@pytest.mark.parametrize("name", ROWS)
def test_rows_become_problems(name, tmp_path, starter):
    from gspo_lite.data.sources import load_problems

    first = load_problems(tiny(name, tmp_path).data).train[0]
    asked, answer = FIRST[name]
    assert asked in first["prompt"][-1]["content"]
    assert first["answer"] == answer


def test_accuracy_is_what_the_task_calls_right(tmp_path, starter):
    def right(recipe, rows, texts):
        judge = judge_of(recipe)
        return verdicts(score([judge], rows, texts, [[]] * len(texts))[judge.__name__])

    rows = [{"prompt": "?", "numbers": [1, 2, 3], "target": 9, "answer": "(1 + 2) * 3"}] * 2
    texts = ["<answer>3 * (2 + 1)</answer>", "<answer>9</answer>"]  # the second is worth as much and uses no numbers
    assert right(tiny("countdown", tmp_path), rows, texts) == [True, False]
    rows = [{"prompt": "?", "answer": "3"}]
    assert right(load_recipe("quickstart").recipe, rows, ["<answer>3.0</answer>"]) == [True]


def test_embedded_games_can_all_be_won_and_are_held_out(starter):
    from gspo_lite.data import countdown
    from gspo_lite.rewards.countdown import countdown as reward

    parts = {split: countdown.problems(split, "hard") for split in countdown.SPLITS}
    for game in [*parts["train"][:200], *parts["test"]]:
        assert reward.function(f"<answer>{game['answer']}</answer>", game["numbers"], game["target"]) == 1.0
    keys = [{(game["target"], *sorted(game["numbers"])) for game in part} for part in parts.values()]
    assert not keys[0] & keys[1]
    assert [len(part) for part in keys] == [3500, 500]
    with pytest.raises(UsageError, match="no difficulty `medium`; allowed: `easy`, `hard`"):
        countdown.problems("train", "medium")


def test_the_table_lists_every_recipe_with_the_model_it_trains(monkeypatch):
    monkeypatch.setattr(sizing_plan, "find_spec", lambda name: name == "unsloth" or None)  # with it and without vLLM
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.yaml\) \|(.*)\|$", (RECIPES / "README.md").read_text(), re.MULTILINE)
    assert {name for name, _, _ in rows} == set(shipped_recipes())
    for name, file, text in rows:
        recipe = load_recipe(name).recipe
        assert name == file
        assert recipe.model.name.split("/")[-1] in text
        assert f"{peak_of(plan(recipe, room_for(recipe, 80)).phases) / 2**30:.1f} GiB" in text


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_head_says_what_to_expect_and_the_command(name):
    head = shipped_recipes()[name].read_text(encoding="utf-8").split("\nmodel:")[0]
    assert "# Expect: " in head or "# Measured: " in head
    assert f"#   gspo-lite run recipes/{name}.yaml" in head


def test_a_copy_keeps_its_comments_and_names_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = copy_recipe("countdown", Path("own/mine.yaml"))
    text, original = path.read_text(), shipped_recipes()["countdown"].read_text()
    assert "#   gspo-lite run own/mine.yaml\n" in text
    assert text.count("#") == original.count("#")
    assert load_recipe(str(path)).recipe.output.dir == "runs/mine"
    with pytest.raises(UsageError, match=r"`own/mine.yaml` exists; nothing was changed"):
        copy_recipe("quickstart", path)
    assert path.read_text() == text
    with pytest.raises(UsageError, match="no shipped recipe `contdown`") as raised:
        copy_recipe("contdown", None)
    assert "did you mean `countdown`?" in raised.value.message
    assert copy_recipe("quickstart", None) == Path("quickstart.yaml")
