"""Which paths of a recipe are refused where they lie outside, and that every command can do what a refusal advises."""

import pytest
import typer

from gspo_lite import cli, load_recipe
from gspo_lite.errors import RecipeError
from gspo_lite.recipe.dump import to_yaml


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder beside the current one, with code, data, an adapter and a model."""
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there / "model", here / "run"):
        folder.mkdir(parents=True)
    (there / "model" / "config.json").write_text("{}")
    (there / "rows.jsonl").write_text('{"question": "1+1", "answer": "2"}\n')
    (there / "mine.py").write_text("def f(completions, **_):\n    return []\n")
    (here / "run" / "environment.json").write_text("{}")
    monkeypatch.chdir(here)
    return there


def saved(outside, *overrides):
    recipe = load_recipe("quickstart", ["output.dir=run", *overrides], allow_outside=True).recipe
    path = outside.parent / "here" / "run" / "recipe.yaml"
    path.write_text(to_yaml(recipe, "of a run"))
    return path


READ = ("model.name={}/model", "data.source={}/rows.jsonl", "data.eval.source={}/rows.jsonl")
RUN = ("rewards=[{{name: '{}/mine.py:f'}}]", "data.adapter={}/mine.py:f", "output.dir={}")


@pytest.mark.parametrize("override", READ)
def test_a_run_folders_own_recipe_may_read_a_model_and_data_anywhere(outside, override):
    path = saved(outside, override.format(outside))
    load_recipe(str(path))
    (path.parent / "environment.json").unlink()  # without which it is any recipe
    with pytest.raises(RecipeError, match="is outside the current folder"):
        load_recipe(str(path))


@pytest.mark.parametrize("override", [*RUN, "model={{name: '{}/model', trust_remote_code: true}}"])
def test_code_outside_is_never_run_unasked_not_even_of_a_run_folder(outside, override):
    path = saved(outside, override.format(outside))
    with pytest.raises(RecipeError, match=r"is outside the current folder .* Add --allow-outside, or give .* --set"):
        load_recipe(str(path))
    load_recipe(str(path), allow_outside=True)


def test_every_command_that_loads_a_recipe_has_the_options_that_a_refusal_names():
    top = typer.main.get_command(cli.app)
    groups = [top, top.commands["rewards"]]
    commands = {name: one for group in groups for name, one in group.commands.items() if not hasattr(one, "commands")}
    options = {name: {text for one in command.params for text in one.opts} for name, command in commands.items()}
    takers = {name for name, known in options.items() if "--set" in known or "--recipe" in known} | {"export", "chat"}
    assert {"run", "check", "eval", "chat", "export", "plan", "doctor", "probe", "test"} <= takers
    assert [name for name in takers if not {"--set", "--allow-outside"} <= options[name]] == []
