"""Where the answer stands is said by `data.prompt`: rewards follow it, and what contradicts it is refused."""

import pytest

from gspo_lite import evaluation
from gspo_lite.checked_recipe import load_recipe, refuse
from gspo_lite.completion.text import Layout
from gspo_lite.errors import RecipeError
from gspo_lite.load_parts import load_parts
from gspo_lite.models.generate import Answer
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.judging import judge_of, score, verdicts
from gspo_lite.rewards.contract.registry import build_rewards, registered

RIGHT = {
    "think_answer": "<think>x</think><answer>7</answer>",
    "boxed": "so \\boxed{7}",
    "plain": "so\n#### 7",
}


def built(names, prompted, /, **options):
    return build_rewards([RewardSettings(name=name, options=options) for name in names], prompted and Layout(prompted))


@pytest.mark.parametrize("style", RIGHT)
def test_a_right_answer_is_rewarded_where_the_prompt_asks_for_it(style):
    recipe = load_recipe("quickstart", [f"data.prompt={style}"]).recipe
    [judge, _] = build_rewards(recipe.rewards, recipe.data.layout)
    values = judge(completions=list(RIGHT.values()), answer=["7"] * 3)
    assert values == [float(other == style) for other in RIGHT]
    assert [judge.extracted(text) for text in RIGHT.values()] == ["7" if other == style else None for other in RIGHT]


def test_every_reward_that_can_look_in_a_box_follows_the_prompt():
    following = [name for name, made in registered().items() if made.followed(Layout("boxed")).get("marker")]
    assert following == [
        "cosine_length", "countdown", "exact_match", "length_penalty", "math_correct", "multiple_choice",
        "numeric_match",
    ]  # fmt: skip
    for name in following:
        needed = {"max_length": 9} if name == "cosine_length" else {}
        assert registered()[name].with_options(Layout("boxed"), **needed).values["marker"] == "boxed"
        assert registered()[name].with_options(Layout("boxed"), marker="gsm8k", **needed).values["marker"] == "gsm8k"
        assert registered()[name].with_options(**needed).values["marker"] == "tag"


def test_a_reward_without_the_choice_keeps_its_own_place():
    assert [made.layout and made.layout.marker for made in built(["json_valid"], "tag")] == ["tag"]
    assert [made.layout and made.layout.marker for made in built(["json_valid"], "gsm8k", marker="fence")] == ["fence"]


def test_a_reward_that_looks_nowhere_is_about_the_answer_of_the_others():
    assert [made.layout and made.layout.marker for made in built(["tag_count"], "boxed")] == ["boxed"]
    assert [made.layout and made.layout.marker for made in built(["tag_count"], None)] == [None]
    settings = [RewardSettings(name="tag_count"), RewardSettings(name="json_valid", options={"marker": "text"})]
    assert [made.layout and made.layout.marker for made in build_rewards(settings, Layout("gsm8k"))] == ["text", "text"]


CUSTOM = """
from typing import Literal
from gspo_lite import reward
from gspo_lite.completion.text import find_answer

@reward
def mine(completion, *, marker: Literal["tag", "boxed"] = "tag"):
    return float(find_answer(completion, marker) == "7")

@reward
def other(completion, *, marker: str = "xml"):
    return float(marker == "xml")

def plain(completions, marker="tag", **_):
    return [float(marker == "tag")] * len(completions)
"""


@pytest.mark.parametrize(
    ("name", "options", "value", "marker"),
    [
        ("mine", {}, 1.0, "boxed"),
        ("mine", {"marker": "tag"}, 0.0, "tag"),
        ("other", {}, 1.0, "boxed"),  # its option means something else
        ("plain", {}, 1.0, "boxed"),
    ],
)
def test_a_reward_of_ones_own_follows_where_it_names_the_choices(tmp_path, name, options, value, marker):
    (tmp_path / "own.py").write_text(CUSTOM)
    [made] = built([f"{tmp_path}/own.py:{name}"], "boxed", **options)
    assert made(completions=["\\boxed{7}"]) == [value]
    assert made.layout == Layout(marker)


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (
            ["data.prompt=think_answer"],
            "`boxed` contradicts data.prompt `think_answer`, which puts the answer at `tag`",
        ),
        (["data.prompt=think_answer"], "Set it to `tag`, or data.prompt to `boxed`"),
        (["data.prompt=plain"], "Set it to `gsm8k`, or data.prompt to `boxed`"),
        (["rewards.0={name: json_valid, options: {marker: tag}}"], "`tag` contradicts data.prompt `boxed`"),
        (["rewards.0={name: json_valid}"], "Set it to `text` or `fence`, or data.prompt to `think_answer`"),
    ],
)
def test_a_marker_that_contradicts_the_prompt_is_refused(sets, says):
    given = ["rewards.0.options={marker: boxed}", *sets]
    with pytest.raises(RecipeError) as caught:
        load_recipe("math_boxed", given)
    assert "`rewards.0.options.marker`: " in caught.value.message
    assert says in caught.value.message


@pytest.mark.parametrize(
    "sets",
    [
        ["rewards.0.options={marker: boxed}"],
        ["data.prompt=think_answer"],
        ["rewards.0={name: json_valid, options: {marker: text}}"],
        ["rewards.0={name: code_execution, options: {trusted: true}}"],
    ],
)
def test_a_marker_that_agrees_or_means_another_place_is_not(sets):
    refuse(load_recipe("math_boxed", sets).recipe)


def test_a_run_loads_its_rewards_with_the_prompts_marker(tmp_path, starter):
    sets = ["data.prompt=boxed", "model.load_in_4bit=false", "data.limit=64", "data.eval.limit=4"]
    parts = load_parts(load_recipe("quickstart", sets, output=str(tmp_path / "run"), allow_outside=True).recipe)
    assert parts.rewards[0](completions=["\\boxed{7}"], answer=["7"]) == [1.0]


def test_accuracy_and_format_rate_are_about_the_form_the_prompt_asks_for(monkeypatch):
    texts = ["so \\boxed{7}", "\\boxed{7.0}", "<think>x</think><answer>7</answer>", "\\boxed{8}"]
    written = [Answer(text, [1]) for text in texts]
    monkeypatch.setattr(evaluation, "answer", lambda *_: written)
    rows = [{"prompt": "?", "answer": "7"}] * 4
    recipe = load_recipe("quickstart", ["data.prompt=boxed"]).recipe
    figures = evaluation.evaluate(None, None, rows, recipe).figures
    assert (figures["accuracy"], figures["format_rate"]) == (0.5, 0.75)


def test_held_out_answers_are_judged_where_the_prompt_asks_for_them():
    recipe = load_recipe("countdown", ["data.prompt=boxed"]).recipe
    rows = [{"prompt": "?", "answer": "2 * 3", "numbers": [2, 3], "target": 6}] * 2
    judge = judge_of(recipe)
    calls = score([judge], rows, ["\\boxed{3 * 2}", "<answer>3 * 2</answer>"], [[1], [1]])
    assert verdicts(calls[judge.__name__]) == [True, False]
