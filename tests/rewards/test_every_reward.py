"""What holds for every reward of the package, so that one added later is held to it too."""

import time
from typing import Annotated

import pytest

from gspo_lite.completion.text import completion_text
from gspo_lite.errors import RewardError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.registry import build_rewards, registered
from gspo_lite.rewards.contract.reward import OR_OPTION, Reward

# What a reward needs to be called at all.
OPTIONS = {
    "soft_overlong": {"max_length": 100, "cache": 10},
    "cosine_length": {"max_length": 100},
    "repetition_penalty": {"unit": "words"},
    "code_execution": {"trusted": True},
}
COLUMNS = {
    "answer": "7", "numbers": [3, 4], "target": 7, "choices": ["6", "7"], "schema": {"type": "object"},
    "tests": [{"input": "", "output": "7"}],
}  # fmt: skip
HOSTILE = {
    "one letter": "x" * 10**6,
    "words": "x y " * 250_000,
    "digits": "1" * 10**6,
    "white space": " " * 10**6,
    "open thoughts": "<think>" * 142_000,
    "open answers": "<answer>" * 125_000,
    "all tags": "<think></think><answer></answer>" * 31_000,
    "boxes": "\\boxed{" * 142_000,
    "hashes": "#" * 10**6,
    "fences": "```\n" * 250_000,
    "brackets": "<answer>" + "[" * 10**6 + "</answer>",
    "parentheses": "<answer>" + "(" * 10**6 + "</answer>",
    "operators": "<answer>" + "9**" * 330_000 + "9</answer>",
    "NUL": "\0" * 10**6,
    "surrogates": "\ud800" * 10**6,
}


def built(name):
    return build_rewards([RewardSettings(name=name, options=OPTIONS.get(name, {}))])[0]


def called(name, completions, **changed):
    given = {column: [value] * len(completions) for column, value in (COLUMNS | changed).items()}
    ids = [completion_text(completion).split() for completion in completions]
    numbers = [[index % 50 for index in range(len(words))] for words in ids]
    return built(name)(completions=completions, prompts=["p"] * len(completions), completion_ids=numbers, **given)


# Another test of a reward that needs a model replaces these where it stands.
NAMES = [name for name in registered() if name != "reward_model"]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", NAMES)
def test_a_million_hostile_characters_take_less_than_a_second(name, text):
    began = time.perf_counter()
    values = called(name, [text])
    assert time.perf_counter() - began < 1.0
    assert values[0] is None or values[0] <= 1.0


CONTENTS = [None, [], [{"type": "image"}]]
EMPTY = ["", [], [{"role": "assistant"}], *[[{"role": "assistant", "content": content}] for content in CONTENTS]]


@pytest.mark.parametrize("name", NAMES)
def test_what_holds_no_text_is_no_error_and_earns_nothing(name):
    values = called(name, EMPTY)
    assert all(value <= 0 for value in values)
    assert len(set(values)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_text_and_messages_are_the_same(name):
    text = "<think>3 + 4</think><answer>7</answer>"
    messages = [{"role": "assistant", "content": text}]
    blocks = [{"role": "assistant", "content": [{"type": "text", "text": text}]}]
    assert len(set(called(name, [text, messages, blocks]))) == 1


@pytest.mark.parametrize("name", NAMES)
def test_what_only_a_tool_wrote_is_not_judged(name):
    right = "<think>3 + 4</think><answer>7</answer> \\boxed{7}\n#### 7\n```json\n{}\n```\n```python\nprint(7)\n```"

    def episode(told):
        said = [{"role": "assistant", "content": "I ask. "}, {"role": "assistant", "content": "It knows it."}]
        return [said[0], {"role": "tool", "name": "look_up", "content": told}, said[1]]

    alone = "I ask. It knows it."
    assert len(set(called(name, [episode(right), episode([{"type": "text", "text": right}]), alone]))) == 1


@pytest.mark.parametrize("name", NAMES)
def test_values_are_plain_numbers_as_trl_wants_them(name):
    made = built(name).function
    given = {column: [value] for column, value in COLUMNS.items()}
    values = made(completions=["so 7"], prompts=["p"], completion_ids=[[1, 2]], trainer_state=None, **given)
    assert all(value is None or type(value) is float for value in values)


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_begins_with_one_line_that_says_what_it_is_worth(name):
    first = registered()[name].__doc__.split("\n")[0]
    assert first.endswith((".", ":"))
    assert len(first) < 121


def test_a_column_may_be_missing_or_come_from_an_option():
    def nearness(completion: str, goal: Annotated[int, OR_OPTION], scale: int = 10, *, floor: float = 0.0) -> float:
        return max(floor, 1 - abs(len(completion) - goal) / scale)

    made = Reward(nearness)
    assert made.columns == ["goal"]
    assert made(["aa", "aaa"], goal=[2, 2]) == [1.0, 0.9]
    assert made(["aa", "aaa"], goal=[2, 2], scale=[10, 2]) == [1.0, 0.5]
    with pytest.raises(RewardError, match="reads the column `goal`"):
        made(["aa"])
    fixed = made.with_options(goal=3, floor=0.5)
    assert fixed.columns == []
    assert fixed(["aa", ""], goal=[2, 2], scale=[2, 2]) == [0.5, 0.5]
    assert made.problems({"goal": "3"}) == ["option `goal`: Input should be a valid integer, got `3`"]


def test_a_new_file_among_the_rewards_registers_itself(tmp_path, monkeypatch):
    import gspo_lite.rewards
    from gspo_lite.rewards.contract import registry

    lines = ["from gspo_lite import reward", "@reward", "def my_kind(completion):", '    "Return 1."', "    return 1.0"]
    (tmp_path / "my_kind.py").write_text("\n".join(lines))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__init__.py").write_text("raise AssertionError('folders hold what the files use')")
    monkeypatch.setattr(gspo_lite.rewards, "__path__", [*gspo_lite.rewards.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "REGISTRY", dict(registry.REGISTRY))
    assert "my_kind" in registered()
    assert registered()["my_kind"].summary == "Return 1."
    (made,) = build_rewards([RewardSettings(name="my_kind")])
    assert made(completions=["a", "b"]) == [1.0, 1.0]
