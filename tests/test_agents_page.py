"""The code of docs/agents.md: files are checked and called, settings are checked in a recipe."""

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gspo_lite import load_recipe
from gspo_lite.credit import Turns
from gspo_lite.system.imports import load_code

TEXT = (Path(__file__).parent.parent / "docs" / "agents.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", TEXT, re.DOTALL)
SETTINGS = [YAML(typ="safe", pure=True).load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in CODE:
        Path(name).write_text(text, encoding="utf-8")


def named(name):
    return load_code(name, "tool", {}).found


@pytest.mark.parametrize(
    ("settings", "recipe"), zip(SETTINGS, ["gsm8k_tools", "countdown_game", "gsm8k_tools"], strict=True)
)
def test_settings_pass_every_check(there, settings, recipe):
    found = load_recipe(recipe, [f"{key}={json.dumps(value)}" for key, value in settings.items()])
    assert found.recipe.plays


def test_files_do_what_the_page_says(there):
    assert {name for name, _ in CODE} == {"my_tools.py", "my_game.py", "my_rewards.py"}
    assert named("my_tools.py:price")(fruit="pear") == 4
    game = named("my_game.py:Doors")()
    game.reset(prize=2, answer="x")
    assert [game.open_door(1), game.open_door("2")] == ["nothing", "the prize"]
    assert (game.get_reward(), game.get_turn_rewards()) == (1.0, [0.0, 1.0])
    own = [{"role": "assistant", "content": text} for text in ("please look", "", "7")]
    told = named("my_rewards.py:polite")([[own[0], {"role": "tool", "content": "please"}, *own[1:]]])
    assert told == [Turns([1.0, None, 0.0])]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('    """Look up what a fruit costs.', '    a = """Look up what a fruit costs.', "`price` has no docstring"),
        ("fruit: str", "fruit", r"my_tools.py:4: `price`: the parameter `fruit` has no type hint"),
        ("        fruit: name", "        name", "does not describe `fruit` under `Args:`"),
    ],
)
def test_what_a_tool_lacks_is_refused_with_its_line(there, before, after, said):
    text = Path("my_tools.py").read_text()
    assert before in text
    Path("my_tools.py").write_text(text.replace(before, after))
    with pytest.raises(Exception, match=said):
        load_recipe("gsm8k_tools", ["tools=[my_tools.py:price]"])
