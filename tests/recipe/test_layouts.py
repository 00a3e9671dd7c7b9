"""Recipes that say how a completion is laid out, among them those of Unsloth's notebooks and of open-r1."""

import pytest
import yaml

from gspo_lite import evaluation
from gspo_lite.checked_recipe import load_recipe, refuse
from gspo_lite.completion.text import Layout, layout_of
from gspo_lite.data.prompts import system_message
from gspo_lite.data.sources import finished
from gspo_lite.errors import RecipeError
from gspo_lite.lab.attempts import instructive
from gspo_lite.models.generate import Answer
from gspo_lite.recipe.dump import to_yaml
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.judging import score
from gspo_lite.rewards.contract.registry import build_rewards
from gspo_lite.rewards.format import follows_form


def recipe(rewards, base="math_boxed", **data):
    given = [f"data.{name}={yaml.safe_dump(value, default_flow_style=True, width=999).strip()}" for name, value in
             {"prompt": "plain", **data}.items()]  # fmt: skip
    listed = [{"name": name, "weight": 1.0} for name in rewards]
    return load_recipe(base, [*given, f"rewards={yaml.safe_dump(listed, default_flow_style=True, width=999)}"]).recipe


def scored(made, gold, texts):
    rows = [{"prompt": "?", "answer": gold}] * len(texts)
    calls = score(build_rewards(made.rewards, made.data.layout), rows, texts, [[1, 2]] * len(texts))
    return [tuple(call.values[row] for call in calls.values()) for row in range(len(texts))]


def test_unsloths_notebooks_with_tags_of_their_own():
    made = recipe(
        ["math_correct", "think_format", "tag_count"],
        thinking=["<start_working_out>", "<end_working_out>"],
        marker={"tags": ["<SOLUTION>", "</SOLUTION>"]},
        system_prompt="Work between <start_working_out> and <end_working_out>, solve in <SOLUTION></SOLUTION>",
    )
    refuse(made)
    assert follows_form("so<end_working_out><SOLUTION>7</SOLUTION>", made.data.layout)
    assert not follows_form("<SOLUTION>7</SOLUTION>", made.data.layout)
    open_tag, close = "<start_working_out>", "<end_working_out>"
    assert scored(
        made,
        "34",
        [
            f"{open_tag}17 + 17 = 34{close}<SOLUTION>34</SOLUTION>",
            f"17 + 17 = 34\n{close}\n<SOLUTION>\n34\n</SOLUTION>\n",  # the chat template opens the thinking
            f"{open_tag}so{close}<SOLUTION>$34</SOLUTION>",
            f"{open_tag}so{close}<SOLUTION>35</SOLUTION>",
            f"{open_tag}<SOLUTION>34</SOLUTION>",
            f"{open_tag}<SOLUTION>34</SOLUTION>{close}<SOLUTION>35</SOLUTION>",
            "<think>so</think><answer>34</answer>",
            f"{open_tag}so{close}34",
            f"{open_tag}so{close}<SOLUTION>34",
        ],
    ) == [
        (1.0, 1.0, 1.0), (1.0, 1.0, 0.75), (1.0, 1.0, 1.0), (0.0, 1.0, 1.0), (0.0, 0.0, 0.75), (0.0, 0.0, 0.5),
        (0.0, 0.0, 0.0), (0.0, 0.0, 0.5), (0.0, 0.0, 0.75),
    ]  # fmt: skip


def test_unsloths_first_notebook_with_reasoning_and_answer():
    made = recipe(["numeric_match", "think_format"], thinking="reasoning", prompt="think_answer")
    assert system_message(made.data) == (
        "Reason about the question between <reasoning> and </reasoning>. "
        "Then give only the final answer between <answer> and </answer>."
    )
    assert scored(
        made,
        "18",
        [
            "<reasoning>\n9 * 2\n</reasoning>\n<answer>\n18\n</answer>\n",
            "<reasoning>9 * 2</reasoning><answer>$18</answer>",
            "<reasoning>9 * 2</reasoning><answer>she makes 18 dollars</answer>",
            "<reasoning>18</reasoning><answer>19</answer>",
            "<reasoning>so <answer>18</answer>",
            "<answer>18</answer>",
            "<think>9 * 2</think><answer>18</answer>",
            "The answer is 18",
        ],
    ) == [(1, 1), (1, 1), (1, 1), (0, 1), (0, 0), (1, 0), (1, 0), (0, 0)]


def test_open_r1s_recipe_with_accuracy_format_and_tag_count():
    made = recipe(
        ["math_correct", "think_format", "tag_count"],
        marker="tag",
        system_prompt="You think, and then answer:\n<think>\n...\n</think>\n<answer>\n...\n</answer>",
    )
    assert scored(
        made,
        "\\frac{1}{2}",
        [
            "<think>\nhalf\n</think>\n<answer>\n$\\boxed{\\frac{1}{2}}$\n</answer>",
            "<think>\nhalf\n</think>\n<answer>\n0.5\n</answer>",
            "<think>\nhalf\n</think>\n<answer>\n\\frac{1}{3}\n</answer>",
            "<think>\n\\boxed{\\frac{1}{2}}\n</think>\n",
            "<think>\nhalf\n",
            "\\boxed{\\frac{1}{2}}",
            "<answer>\n1/2\n</answer>\n<think>\nhalf\n</think>",
            "<think>\nhalf\n</think>\n<answer>\n1/2\n</answer>\nI hope that helps",
        ],
    ) == [
        (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (0.0, 1.0, 1.0), (0.0, 0.0, 0.5), (0.0, 0.0, 0.25), (0.0, 0.0, 0.0),
        (0.0, 0.0, 1.0), (1.0, 0.0, 1.0),
    ]  # fmt: skip


def test_instruct_models_that_answer_in_plain_text():
    made = recipe(["math_correct", "numeric_match"], marker="last_number")
    texts = ["Step 1: 3 * 4 = 12.\n\nThe answer is **12**.", "She pays $12.00.", "12 or 13", "13", "twelve"]
    assert scored(made, "12", texts) == [(1, 1), (1, 1), (0, 0), (0, 0), (0, 0)]


def test_choices_behind_a_prefix():
    made = recipe(["multiple_choice"], base="multiple_choice", marker={"prefix": "Answer:"}, thinking="magistral")
    texts = ["[THINK]A?[/THINK]\n**Answer:** B", "Final answer: (b)", "Answer: A", "[THINK]Answer: B", "B"]
    assert scored(made, "B", texts) == [(1,), (1,), (0,), (0,), (0,)]


def test_json_in_tags_of_ones_own():
    made = recipe(["json_valid"], base="json_output", marker={"tags": ["<json>", "</json>"]}, thinking="gpt_oss")
    assert scored(made, "x", ["analysissoassistantfinal<json>{}</json>", "<json>{}</json>", "{}"]) == [(1,), (1,), (0,)]


def test_a_reward_may_look_elsewhere_by_itself():
    given = "{name: numeric_match, weight: 1.0, options: {marker: {regex: 'score=(.*)'}}}"
    made = load_recipe("quickstart", [f"rewards.1={given}"]).recipe
    assert scored(made, "7", ["<think>x</think><answer>7</answer>", "score=7"]) == [(1.0, 0.0), (0.0, 1.0)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"prompt": "boxed"}, "Reason step by step and put the final answer into \\boxed{}."),
        ({"prompt": "plain"}, None),
        ({"prompt": "boxed", "system_prompt": None}, None),
        ({"prompt": "boxed", "system_prompt": ""}, None),
        ({"prompt": "boxed", "system_prompt": "Use {braces}."}, "Use {braces}."),
        ({"prompt": "plain", "system_prompt": "Be brief."}, "Be brief."),
        (
            {"prompt": "think_answer", "marker": {"tags": ["<A>", "</A>"]}, "thinking": ["<w>", "</w>"]},
            "Reason about the question between <w> and </w>. Then give only the final answer between <A> and </A>.",
        ),
        (
            {"prompt": "think_answer", "thinking": "gpt_oss"},
            "Give only the final answer between <answer> and </answer>.",
        ),
    ],
)
def test_the_system_message_is_ones_own_or_that_of_the_style(data, message):
    made = recipe(["math_correct"], **data)
    assert system_message(made.data) == message
    row = {"prompt": "1 + 1?", "answer": 2}
    chat = finished(row, system_message(made.data))["prompt"]
    assert [one["content"] for one in chat if one["role"] == "system"] == ([message] if message else [])
    own = [{"role": "system", "content": "mine"}, {"role": "user", "content": "1 + 1?"}]
    assert finished({**row, "prompt": own}, system_message(made.data))["prompt"] == own


@pytest.mark.parametrize(
    "data",
    [
        {"marker": {"regex": r"x=(\d+)"}, "thinking": ["<w>", "</w>"], "system_prompt": None},
        {"marker": {"tags": ["<A>", "</A>"]}, "thinking": "gemma", "system_prompt": "Be brief."},
        {"marker": {"prefix": "Answer:"}},
        {"marker": "last_number"},
        {},
    ],
)
def test_a_resolved_recipe_is_read_back_as_the_same(tmp_path, data):
    made = recipe(["math_correct"], **data)
    (tmp_path / "recipe.yaml").write_text(to_yaml(made, "resolved"))
    assert load_recipe(str(tmp_path / "recipe.yaml"), allow_outside=True).recipe == made


def test_a_marker_is_followed_by_accuracy_format_rate_and_made_up_completions(monkeypatch):
    made = recipe(["math_correct"], marker={"prefix": "Answer:"}, thinking="reasoning")
    written = ["<reasoning>Answer: 8</reasoning>\n**Answer:** 7", "Answer: 8", "7", "<reasoning>Answer: 7"]
    monkeypatch.setattr(evaluation, "answer", lambda *_: [Answer(text, [1]) for text in written])
    figures = evaluation.evaluate(None, None, [{"prompt": "?", "answer": "7"}] * 4, made).figures
    assert (figures["accuracy"], figures["format_rate"], figures["lenient_accuracy"]) == (0.25, 0.5, 0.75)
    right = instructive("7", made.data.layout)[0].text
    assert scored(made, "7", [right]) == [(1.0,)]


@pytest.mark.parametrize(
    ("data", "reward", "says"),
    [
        ({"marker": "last_number"}, "{name: math_correct, options: {marker: boxed}}",
         "`boxed` contradicts data.marker `last_number`: no right answer would be rewarded. Set it to"),
        ({"marker": {"prefix": "A:"}}, "{name: math_correct, options: {marker: tag}}",
         "`tag` contradicts data.marker `{'prefix': 'A:'}`"),
        ({"marker": "last_number"}, "{name: json_valid}", "Set it to `text` or `fence`, or data.marker to `tag`"),
        ({"thinking": "gemma"}, "{name: think_format, options: {thinking: magistral}}",
         "`rewards.0.options.thinking`: `magistral` contradicts data.thinking `gemma`"),
        ({"thinking": "gemma"}, "{name: math_correct, options: {thinking: [<a>, <b>]}}",
         "`['<a>', '<b>']` contradicts data.thinking `gemma`"),
    ],
)  # fmt: skip
def test_a_reward_that_looks_elsewhere_is_refused(data, reward, says):
    given = [f"data.{name}={value}" for name, value in {"prompt": "plain", **data}.items()]
    with pytest.raises(RecipeError) as caught:
        load_recipe("math_boxed", [*given, f"rewards.0={reward}"])
    assert says in caught.value.message


def test_what_a_reward_follows_is_what_it_has_options_for():
    layout = Layout("last_number", "reasoning")
    made = recipe(["math_correct", "think_format", "language_consistency", "boxed_format"])
    followed = [build_rewards([one], layout)[0].function.values for one in made.rewards]
    assert [one.get("marker") for one in followed] == ["last_number", None, None, None]
    assert {one["thinking"] for one in followed} == {"reasoning"}


def test_a_warm_up_is_told_where_its_answer_is_looked_for():
    sets = ["data.prompt=plain", "data.marker={prefix: 'Answer:'}", "warmup.completion='<answer>{answer}</answer>'"]
    said = "`warmup.completion`: has no answer where data.marker looks for it, as in `..\nAnswer: ..`"
    assert said in load_recipe("quickstart_warmup", sets).warnings
    sets[-1] = "warmup.completion='Answer: {answer}'"
    assert not [one for one in load_recipe("quickstart_warmup", sets).warnings if "warmup" in one]


def test_a_program_and_a_language_are_read_in_this_layout():
    layout = layout_of({"tags": ["<CODE>", "</CODE>"]}, "magistral")
    options = {"trusted": True}
    [code] = build_rewards([RewardSettings(name="code_execution", options=options)], layout)
    texts = ["[THINK]no[/THINK]<CODE>print(7)</CODE>", "[THINK]<CODE>print(7)</CODE>", "<answer>print(7)</answer>"]
    tests = [[{"input": "", "output": "7"}]] * 3
    assert code(completions=texts, tests=tests) == [1.0, 0.0, 0.0]
    options = {"scripts": ["cyrillic"]}
    [language] = build_rewards([RewardSettings(name="language_consistency", options=options)], layout)
    texts = ["[THINK]да[/THINK]<CODE>да</CODE>", "<answer>да</answer>"]  # 2 letters, and 12 of other tags
    assert language(completions=texts) == [1.0, pytest.approx(2 / 14)]


@pytest.mark.parametrize(
    ("sets", "warned"),
    [
        (["generation.max_completion_length=24"], True),
        (["generation.max_completion_length=64"], False),
        (["generation.max_completion_length=24", "data.prompt=plain"], False),
        (["generation.max_completion_length=24", "data.system_prompt=Be brief."], False),  # it does not ask to think
    ],
)
def test_short_completions_are_warned_of_where_the_style_asks_for_thoughts(sets, warned):
    said = [one for one in load_recipe("gsm8k_gspo", sets).warnings if "cut off most" in one]
    assert len(said) == warned
    assert all("does not apply to rows that bring a system message of their own" in one for one in said)
