"""A run folder, an adapter folder or a model, resolved to its recipe and adapter."""

import json

import pytest

from gspo_lite import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.load_trained import find_trained
from gspo_lite.recipe.dump import to_yaml


@pytest.fixture
def recipe():
    return load_recipe("quickstart").recipe


def test_a_run_folder_brings_its_own_recipe_and_adapter(recipe, tmp_path):
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe, "a run"))
    (tmp_path / "environment.json").write_text("{}")
    with pytest.raises(UsageError, match="has no `adapter/`, because its training did not finish"):
        find_trained(str(tmp_path), None)
    (tmp_path / "adapter").mkdir()
    assert find_trained(str(tmp_path), None) == (recipe, tmp_path / "adapter")


def test_an_adapter_folder_names_its_base_and_a_model_is_its_own(recipe, tmp_path):
    found, adapter = find_trained("some/model", recipe)
    assert (found.model.name, adapter) == ("some/model", None)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "its/base"}))
    found, adapter = find_trained(str(tmp_path), recipe)
    assert (found.model.name, adapter) == ("its/base", tmp_path)
    with pytest.raises(UsageError, match="is not a run folder, so a recipe is needed"):
        find_trained(str(tmp_path), None)
