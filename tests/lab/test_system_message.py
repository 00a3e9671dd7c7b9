"""The system message that a chat begins with, where the run recorded it, and where only the data can tell."""

import json

import pytest

from gspo_lite import load_recipe
from gspo_lite.data.prompts import shared_system
from gspo_lite.lab.system_message import in_short, trained_system


def recipe_of(tmp_path, *systems):
    rows = [
        {"prompt": [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": str(n)}]}
        for n, system in enumerate(systems)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({**row, "answer": "1"}) + "\n" for row in rows))
    settings = [f"data.source={tmp_path / 'rows.jsonl'}", "data.prompt=plain", "data.eval.source=null"]
    return load_recipe("quickstart", settings, allow_outside=True).recipe


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [
        ([[{"role": "system", "content": "a"}, {"role": "user", "content": "1"}]] * 2, "a"),
        (["plain text", [{"role": "user", "content": "1"}]], ""),
        (["plain text", [{"role": "system", "content": "a"}]], None),
        ([], None),
    ],
)
def test_a_system_message_is_shared_by_all_prompts_or_by_none(prompts, shared):
    assert shared_system(prompts) == shared


def test_what_a_run_recorded_is_believed_and_older_runs_are_told_by_their_data(tmp_path):
    recipe = recipe_of(tmp_path, *["Answer as JSON."] * 20)
    assert trained_system(recipe, None) == "Answer as JSON."
    (tmp_path / "environment.json").write_text("{}")
    assert trained_system(recipe, tmp_path) == "Answer as JSON."
    (tmp_path / "environment.json").write_text('{"system_message": ""}')
    assert trained_system(recipe, tmp_path) is None
    (tmp_path / "environment.json").write_text('{"system_message": "Count."}')
    assert trained_system(recipe, tmp_path) == "Count."


def test_rows_that_differ_or_cannot_be_read_leave_the_recipes_own_message_and_are_said(tmp_path, capsys):
    recipe = recipe_of(tmp_path, *["a", "b"] * 10)
    assert trained_system(recipe, None) is None
    assert "different system messages; --system TEXT chooses one" in capsys.readouterr().err
    (tmp_path / "rows.jsonl").unlink()
    assert trained_system(recipe, None) is None
    assert "cannot be read for its system message: there is no file" in capsys.readouterr().err


def test_a_chat_runs_no_code_of_a_recipe_to_find_it_out(tmp_path):
    (tmp_path / "mine.py").write_text("raise SystemExit('run')\n")
    settings = [f"data.adapter={tmp_path}/mine.py:f", "data.system_prompt=Be brief."]
    recipe = load_recipe("quickstart", settings, allow_outside=True).recipe
    assert trained_system(recipe, None) == "Be brief."


def test_a_long_message_is_shown_in_one_short_line():
    assert in_short("a\n b") == "a b"
    assert in_short("x" * 200) == "x" * 100 + "..."
    assert in_short(None) == "none"
