"""A run folder, an adapter folder or a model, resolved to its recipe and adapter."""

import json
from pathlib import Path

import pytest

from gspo_lite import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.load_trained import find_trained, run_of
from gspo_lite.recipe.dump import to_yaml
from gspo_lite.training.checkpoint.manifest import write_manifest


@pytest.fixture
def recipe():
    return load_recipe("quickstart").recipe


def test_a_run_folder_brings_its_own_recipe_and_adapter(recipe, tmp_path):
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe, "a run"))
    (tmp_path / "environment.json").write_text("{}")
    with pytest.raises(UsageError, match="has no `adapter/` and no complete checkpoint"):
        find_trained(str(tmp_path), None)
    (tmp_path / "adapter").mkdir()
    assert find_trained(str(tmp_path), None) == (moved(recipe, tmp_path), tmp_path / "adapter")


def moved(recipe, run):
    """The recipe with its run folder where it lies now."""
    return recipe.model_copy(update={"output": recipe.output.model_copy(update={"dir": str(run)})})


@pytest.fixture
def cut(recipe, tmp_path):
    """A run that was killed in its 13th step, just while it wrote a checkpoint."""
    run = tmp_path / "run"
    for step in (4, 8, 12):
        folder = run / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
        write_manifest(folder, step, {})
    (run / "checkpoints" / "checkpoint-12" / "adapter_config.json").write_text("{")
    (run / "recipe.yaml").write_text(to_yaml(recipe, "a run"))
    (run / "environment.json").write_text("{}")
    return run


def test_a_run_without_an_adapter_gives_its_newest_complete_checkpoint_and_says_so(cut, recipe, capsys):
    checkpoint = cut / "checkpoints" / "checkpoint-8"
    assert find_trained(str(cut), None) == (moved(recipe, cut), checkpoint)
    assert capsys.readouterr().err.splitlines() == [
        "note     checkpoint of step 12 skipped: `adapter_config.json` has 1 bytes, not 2",
        "note     not the finished adapter: using checkpoint-8, step 8 of 160",
    ]
    (cut / "adapter").mkdir()
    assert find_trained(str(cut), None)[1] == cut / "adapter"
    (cut / "environment.json").write_text('{"resumed": ["2026-01-01"]}')  # and not finished again since
    assert find_trained(str(cut), None)[1] == checkpoint


def test_a_checkpoint_can_be_named_if_it_is_complete(cut, recipe, capsys, monkeypatch):
    monkeypatch.chdir(cut / "checkpoints")
    assert find_trained("checkpoint-4", None) == (moved(recipe, cut), Path("checkpoint-4"))
    assert "using checkpoint-4, step 4 of 160" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"`checkpoint-12`: `adapter_config\.json` has 1 bytes, not 2") as caught:
        find_trained("checkpoint-12", None)
    assert caught.value.hint == "complete checkpoints: checkpoint-8, checkpoint-4"


def test_what_lies_in_a_run_belongs_to_it_and_a_hub_id_never_does(cut, monkeypatch):
    monkeypatch.chdir(cut)
    assert run_of(Path("checkpoints/checkpoint-4")) == cut
    assert run_of(Path("org/model")) is None
    assert run_of(cut.parent) is None


def test_an_adapter_folder_names_its_base_and_a_model_is_its_own(recipe, tmp_path):
    found, adapter = find_trained("some/model", recipe)
    assert (found.model.name, adapter) == ("some/model", None)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "its/base"}))
    found, adapter = find_trained(str(tmp_path), recipe)
    assert (found.model.name, adapter) == ("its/base", tmp_path)
    with pytest.raises(UsageError, match="is not a run folder or part of one, so a recipe is needed"):
        find_trained(str(tmp_path), None)
