"""Tools and environments of a recipe: what cannot work is refused by `check`, with the line of their file."""

import pytest

from gspo_lite import load_recipe
from gspo_lite.checked_recipe import recipe_schema
from gspo_lite.errors import RecipeError
from gspo_lite.recipe.dump import to_yaml

CODE = '''
def add(a: int, b: int) -> int:
    """Add.

    Args:
        a: one
        b: other
    """
    raise SystemExit("never run")


def bare(a):
    return a


class Game:
    def reset(self, **row):
        pass

    def add(self, a: int) -> str:
        """Add.

        Args:
            a: one
        """

    def get_reward(self):
        return 1.0


class Free:
    def reset(self, **row):
        pass


class Derived(Game):
    pass
'''


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").write_text(CODE)
    return lambda *sets: load_recipe("quickstart", sets)


@pytest.mark.parametrize(
    ("sets", "problem"),
    [
        (["tools=[t.py:bare]"], "`tools.0.name`: t.py:12: `bare` has no docstring"),
        (["tools=[t.py:ad]"], "`t.py` has no `ad`; did you mean `add`?"),
        (["tools=[add]"], "`tools.0.name`: `add` is not of the form"),
        (["tools=[t.py:Game]"], "Name it as `environment`"),
        (["tools=t.py:add"], "`tools`: found `t.py:add`; allowed: Functions that the model may call"),
        (["tools=[5]"], "`tools.0`: found `5`; allowed: Functions"),
        (["tools=[{name: t.py:add, timeout: 0}]"], "`tools.0.timeout`: found `0`; allowed: a number above 0"),
        (["tools=[t.py:add, {name: t.py:add}]"], "`tools.1.name`: `t.py:add` has the name `add` as well"),
        (["tools=[t.py:add]", "environment=t.py:Game"], "`environment`: `t.py:Game` has a method `add`"),
        (["environment={a: t.py:Game, b: t.py:Gam}"], "`environment.b`: `t.py` has no `Gam`; did you mean `Game`?"),
        (["environment=t.py:add"], None),  # a function that makes one
        (["environment=t.py:Free", "rewards=[]"], "`t.py:Free` does not pay: give it a method `get_reward(self)`"),
        (["environment={a: t.py:Free, b: t.py:Game}", "rewards=[]"], "`t.py:Free` does not pay"),
        (["environment=t.py:Derived", "rewards=[]"], None),  # it inherits what pays
        (["environment=t.py:Game", "rewards=[]"], None),
        (["environment=t.py:Game", "rewards=[{name: t.py:Game}]"], "is logged by its name, which a reward has as well"),
        (["rewards=[]"], "`rewards`: missing; at least one reward is needed, or an environment that pays"),
        (["generation.max_turns=3"], "`generation.max_turns`: needs several turns"),
        (["tools=[t.py:add]", "generation.max_turns=1"], "the model needs at least 2 turns to read a result"),
        (["tools=[t.py:add]", "generation.max_turns=2"], None),
        (["objective.algorithm=gspo_token", "objective.gamma=0.5"], "`objective.gamma`: needs several turns"),
        (["tools=[t.py:add]", "objective.gamma=0.5"], "pays single turns, but `gspo`"),
        (["objective.algorithm=gspo_token", "rewards.0.credit={turn: last}"], "`rewards.0.credit`: needs several"),
        (["tools=[t.py:add]", "objective.algorithm=gspo_token", "rewards.0.credit={turn: last}"], None),
        (["training.extra={max_tool_calling_iterations: 3}"], "generation.max_turns limits a conversation"),
    ],
)
def test_what_cannot_work_is_refused(load, sets, problem):
    if problem is None:
        load(*sets)
        return
    with pytest.raises(RecipeError) as error:
        load(*sets)
    assert problem in str(error.value)


def test_a_file_with_tools_outside_the_recipes_folder_is_refused(load, tmp_path):
    outside = tmp_path.parent / "outside.py"
    outside.write_text(CODE)
    text = to_yaml(load("tools=[t.py:add]", "environment=t.py:Free").recipe, "x")
    (tmp_path / "r.yaml").write_text(text.replace("t.py:", f"{outside}:"))
    with pytest.raises(RecipeError) as error:
        load_recipe("r.yaml")
    assert str(error.value).count("is outside the current folder") == 2


def test_tools_are_written_and_read_back(load, tmp_path):
    recipe = load("tools=[t.py:add]", "environment={a: t.py:Free}", "generation.tool_timeout=5").recipe
    (tmp_path / "r.yaml").write_text(to_yaml(recipe, "x"))
    assert load_recipe("r.yaml").recipe == recipe
    assert (recipe.tools[0].name, recipe.tools[0].timeout, recipe.environments) == (
        "t.py:add",
        None,
        {"a": "t.py:Free"},
    )


def test_the_schema_offers_tools_by_name_or_with_a_timeout():
    found = recipe_schema()
    assert {"tools", "environment"} <= found["properties"].keys()
    kinds = found["properties"]["tools"]["items"]["anyOf"]
    assert {kind.get("type", kind.get("$ref")) for kind in kinds} == {"string", "#/$defs/ToolSettings"}
