"""The shipped recipes with tools, a few steps of each on a random model with Qwen3's template, and what shows the runs.

What the model writes is scripted; template, parser, tools, training and evaluation are real.
"""

import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from gspo_lite import load_recipe
from gspo_lite.export.round_trip import Options, export
from gspo_lite.lab import chat
from gspo_lite.lab.preview import lines_of, preview
from gspo_lite.run import run
from gspo_lite.training.trainer import GSPOTrainer
from tests.models.chat_families import FAMILIES, write_family
from tests.recipe.test_recipes_run import TINY

MORE = [
    "generation.max_prompt_length=3000", "generation.max_completion_length=400", "model.max_seq_length=4096",
    "training.eval_steps=null", "output.keep_best=false", "data.limit=20", "training.max_steps=2",
    "training.steps_per_generation=2",
]  # fmt: skip


def call(name, **arguments):
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def calculates(prompt):
    """A message of the model by what it was shown: a call with the sum that is asked for, then what the tool said."""
    asked, _, rest = prompt.rpartition("What is ")[2].partition("?")
    if found := re.search(r"<tool_response>\s*(.*?)\s*</tool_response>", rest):
        return f"So it is \\boxed{{{found[1]}}}."
    return "A sum." + call("calculate", expression="9**9**9" if asked.startswith("1 ") else asked)


def plays(prompt):
    """A message of the model that adds up the first two numbers on the table, until none or one is left."""
    table = prompt.rpartition("n the table: ")[2].split(".")[0].split("<")[0]
    numbers = [int(number) for number in table.strip("[]").split(", ")]
    return call("combine", first=numbers[0], sign="+", second=numbers[1]) if len(numbers) > 1 else "Done."


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run folders of both recipes."""
    folder = tmp_path_factory.mktemp("tools")
    template = files("trl").joinpath("chat_templates", "qwen3.jinja").read_text(encoding="utf-8")
    model = write_family(replace(FAMILIES["qwen3"], template=template), folder / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}))
    rows = [{"question": f"What is {n} + 1?", "answer": f"#### {n + 1}"} for n in range(20)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sources = {"gsm8k_tools": [f"data.source={folder / 'rows.jsonl'}"], "countdown_game": []}
    scripts, made = {"gsm8k_tools": calculates, "countdown_game": plays}, {}
    for name, script in scripts.items():
        overrides = [*TINY, *MORE, f"model.name={model}", *sources[name]]
        recipe = load_recipe(name, overrides, output=str(folder / name), allow_outside=True).recipe
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(GSPOTrainer, "_generate_single_turn", scripted(script))
            made[name] = run(recipe), recipe
    return made, scripts


def scripted(script):
    def turn(self, prompt_ids, *_, **__):
        texts = [script(self.processing_class.decode(ids)) + "<|im_end|>" for ids in prompt_ids]
        return [self.processing_class.encode(text, add_special_tokens=False) for text in texts], None

    return turn


@pytest.fixture
def played(finished, monkeypatch, request):
    made, scripts = finished
    monkeypatch.setattr(GSPOTrainer, "_generate_single_turn", scripted(scripts[request.param]))
    return made[request.param]


def rows_of(folder, name):
    return [json.loads(line) for line in (Path(folder) / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("played", ["gsm8k_tools"], indirect=True)
def test_a_calculator_is_called_in_training_and_before_and_after(played):
    result, _ = played
    for name in ("completions.jsonl", "eval_samples.jsonl"):
        turns = [row["turns"] for row in rows_of(result.folder, name)]
        assert all([one["role"] for one in row] == ["assistant", "tool", "assistant"] for row in turns)
        told = {(row[0]["calls"][0]["arguments"]["expression"], row[1]["content"], row[1]["end"]) for row in turns}
        sums = {expression: content for expression, content, end in told if end == "done"}
        assert sums == {expression: str(sum(map(int, expression.split(" + ")))) for expression in sums} != {}
    assert result.evaluation["after"]["calls_per_episode"] == 1
    assert rows_of(result.folder, "metrics.jsonl")[0]["tools/calls_per_episode"] == 1
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert 'class="episode"' in page
    assert "with calculate." in page


@pytest.mark.parametrize("played", ["countdown_game"], indirect=True)
def test_a_game_is_played_to_its_end_and_pays(played):
    result, _ = played
    rows = rows_of(result.folder, "completions.jsonl")
    assert {row["turns"][-1]["content"] for row in rows} == {"Done."}
    for row in rows:
        won = "You have won" in row["turns"][-2]["content"]
        assert row["rewards"]["NumberGame"] == float(won)
        assert len(row["turns"]) in (5, 7)  # of three numbers, of four
    assert "accuracy_is" in result.evaluation["after"]


@pytest.mark.parametrize("played", ["gsm8k_tools", "countdown_game"], indirect=True)
def test_an_export_plays_the_same_conversations(played):
    result, _ = played
    found = export(result.folder, "adapter", None, Options(prompts=3), allow_outside=True).round_trip
    assert (found.agreement, found.identical) == (1.0, 1.0)
    assert found.export_accuracy == found.adapter_accuracy > 0  # what the model would say alone is noise


def told_by(path, *questions):
    shown = []
    chat.talk(chat.open_chat(path, allow_outside=True), questions, shown.append)
    return "".join(shown)


@pytest.mark.parametrize("played", ["gsm8k_tools"], indirect=True)
def test_a_chat_calls_the_tools_and_shows_what_became_of_it(played, capsys):
    said = told_by(played[0].folder, "What is 2 + 3?", "What is 1 + 1?")
    right, wrong = said.splitlines()[:4], said.splitlines()[4:]
    assert right == ["A sum.", "-> calculate(expression='2 + 3')", "<- calculate: 5", "So it is \\boxed{5}."]
    assert wrong[1] == "-> calculate(expression='9**9**9')"
    assert "(failed)" in wrong[2]
    assert "exponent" in wrong[2]
    assert "tools    calculate: calls run on this machine" in capsys.readouterr().err


@pytest.mark.parametrize("played", ["countdown_game"], indirect=True)
def test_a_chat_with_an_environment_begins_with_a_held_out_problem(played):
    said = told_by(played[0].folder, "1", "hello", "999")
    assert said.startswith("On the table: [")
    assert "-> combine(first=" in said
    assert "type the number of a held-out problem, 0 to 3: " in said
    assert said.count("type the number") == 2  # 999 is none


@pytest.mark.parametrize("played", ["gsm8k_tools"], indirect=True)
def test_a_preview_plays_conversations_and_shows_one(played):
    found = preview(played[1], 2)
    text = "\n".join(lines_of(found))
    assert found.obstacle is None
    assert re.search(r"^calls, mean +1.0 +1.0$", text, re.MULTILINE)
    assert re.search(r"^turns, mean +2.0 +2.0$", text, re.MULTILINE)
    (first, told) = re.search(
        r"^ +-> calculate\(expression='(\d+) \+ 1'\)\n +<- calculate: (\d+)$", text, re.MULTILINE
    ).groups()
    assert int(told) == int(first) + 1


@pytest.mark.parametrize("played", ["countdown_game"], indirect=True)
def test_a_preview_has_what_the_environment_pays(played):
    found = preview(played[1], 2)
    assert [(one.name, one.weight) for one in found.rewards] == [("NumberGame", 1.0)]
    assert found.sampling.accuracy == found.rewards[0].mean
