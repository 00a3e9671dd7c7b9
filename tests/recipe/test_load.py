import pytest

from gspo_lite import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.recipe.dump import to_yaml
from gspo_lite.recipe.schema import Recipe
from gspo_lite.recipe.shipped import headline, shipped_recipes

SHIPPED = shipped_recipes()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_is_right_and_says_what_it_does(name):
    loaded = load_recipe(name)
    assert loaded.warnings == []
    assert 20 < len(headline(loaded.path)) < 120


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_writes_every_field_of_the_objective(name):
    text = SHIPPED[name].read_text(encoding="utf-8")
    section = text.split("\nobjective:\n")[1].split("\n\n")[0]
    for field in Recipe.model_fields["objective"].annotation.model_fields:
        assert f"  {field}: " in section


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "quickstart"])
def test_any_shipped_recipe_can_be_tried_on_the_tiny_model(name):
    overrides = ["model.name=starter", "data.source=train.jsonl", "data.eval.source=test.jsonl"]
    load_recipe(name, overrides, with_data=False)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_resolved_recipe_reads_back_as_the_same(name, tmp_path):
    recipe = load_recipe(name).recipe
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(recipe, "resolved"), encoding="utf-8")
    assert load_recipe(str(path), allow_outside=True).recipe == recipe


def test_overrides_take_yaml_values():
    overrides = [
        "training.learning_rate=1e-5",
        "model.lora={rank: 4, alpha: 8}",
        "rewards.0.weight=2",
        "data.limit=null",
    ]
    recipe = load_recipe("quickstart", overrides).recipe
    assert recipe.training.learning_rate == 1e-5
    assert recipe.model.lora.rank == 4
    assert recipe.rewards[0].weight == 2
    assert recipe.data.limit is None


def test_output_stands_above_the_recipe():
    assert load_recipe("quickstart", output="elsewhere/x").recipe.output.dir == "elsewhere/x"


@pytest.mark.parametrize(
    ("algorithm", "level"), [("gspo", "sequence"), ("gspo_token", "sequence_token"), ("grpo", "token")]
)
def test_the_algorithm_sets_level_and_loss_type_together(algorithm, level):
    name = {"gspo": "gsm8k_gspo", "gspo_token": "gsm8k_gspo_token", "grpo": "gsm8k_grpo"}[algorithm]
    objective = load_recipe(name, ["objective.loss_type=null"]).recipe.objective
    assert (objective.importance_sampling_level, objective.resolved_loss_type) == (level, "grpo")


def test_a_recipe_that_is_not_there_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean `quickstart`"):
        load_recipe("quikstart")


def test_paths_typed_on_the_command_line_may_lead_anywhere(tmp_path):
    load_recipe("quickstart", [f"output.dir={tmp_path}"])
    load_recipe("quickstart", output=str(tmp_path))


def test_a_path_in_the_file_may_leave_its_tree_only_when_allowed(tmp_path):
    text = SHIPPED["quickstart"].read_text(encoding="utf-8").replace("dir: runs/quickstart", "dir: ../../out")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "r.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="allow-outside"):
        load_recipe(str(inner / "r.yaml"))
    assert load_recipe(str(inner / "r.yaml"), allow_outside=True).recipe.output.dir == "../../out"
