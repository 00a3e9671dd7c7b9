import pytest

from gspo_lite import evaluation, load_recipe
from gspo_lite.completion.text import Layout
from gspo_lite.evaluation import evaluate, share, wilson
from gspo_lite.models.generate import Answer, Ticker, cut
from gspo_lite.rewards.contract.guarded import calls
from gspo_lite.rewards.contract.judging import form_of
from gspo_lite.rewards.contract.registry import build_rewards


def test_wilson_interval_equals_the_textbook_value():
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662
    low, high = wilson([True] * 81 + [False] * 182)
    assert (low, high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


def test_wilson_interval_stays_between_zero_and_one():
    assert wilson([True] * 20)[1] == 1.0
    assert wilson([False] * 20)[0] == 0.0
    assert wilson([True] * 20)[0] == pytest.approx(0.8389, abs=5e-5)


def test_what_cannot_be_judged_is_not_right():
    assert share([True, None, False, None]) == 0.25


def test_a_completion_ends_before_its_end_token():
    assert cut([5, 6, 2, 7], {2}) == [5, 6]
    assert cut([5, 6], {2}) == [5, 6]


def test_progress_moves_inside_a_batch_and_never_back():
    seen = []
    ticker = Ticker(seen.append, 64, 8, 3)
    for _ in range(4):  # the prompts, then three tokens
        ticker.put(None)
    ticker.end()
    assert seen == [64, 66, 68, 70]  # 72 are done with their texts


def test_a_right_number_without_its_marker_is_right_leniently_only(monkeypatch):
    said = ["<think>a</think><answer>7</answer>", "It is 7.", "It is 8."]
    monkeypatch.setattr(evaluation, "answer", lambda *args: [Answer(text, [0] * 4) for text in said])
    rows = [{"prompt": "?", "answer": "7"}] * 3
    figures = evaluate(None, None, rows, load_recipe("quickstart").recipe).figures
    assert figures["accuracy"] == figures["format_rate"] == pytest.approx(1 / 3)
    assert figures["lenient_accuracy"] == pytest.approx(2 / 3)
    assert (figures["n"], figures["mean_tokens"]) == (3, 4.0)


def test_where_a_last_number_says_nothing_a_right_answer_is_right_leniently_as_well(monkeypatch):
    """Else a report would ascribe all that was gained to the format."""
    monkeypatch.setattr(evaluation, "answer", lambda *args: [Answer(f"<answer>{one}</answer>", [0]) for one in "ab"])
    recipe = load_recipe("quickstart", ["rewards=[{name: exact_match}]"]).recipe
    figures = evaluate(None, None, [{"prompt": "?", "answer": "a"}] * 2, recipe).figures
    assert figures["accuracy"] == figures["lenient_accuracy"] == 0.5


TEXT = "{name: json_valid, options: {marker: text}}"


@pytest.mark.parametrize(
    ("sets", "form"),
    [
        ([], Layout("tag")),
        (["data.prompt=boxed"], Layout("boxed")),
        (["data.prompt=plain"], Layout("gsm8k")),  # `math_correct` reads it there
        (["data.prompt=plain", f"rewards=[{TEXT}]"], None),  # the whole text is the answer
        (["data.prompt=plain", "rewards=[{name: json_valid, options: {marker: fence}}]"], Layout("fence")),
        (["data.prompt=plain", "rewards=[{name: tag_count}]"], None),  # looks for no answer
        (["data.prompt=plain", "rewards=[{name: tag_count}]", "data.marker=last_number"], Layout("last_number")),
        (["data.marker=text", f"rewards=[{TEXT}]", "data.prompt=plain"], None),
        (["data.prompt=boxed", f"rewards=[{TEXT}]"], Layout("boxed")),
    ],
)
def test_the_form_is_where_the_prompt_or_else_a_reward_places_the_answer(sets, form):
    assert form_of(load_recipe("quickstart", sets).recipe) == form


def test_greedy_answers_are_judged_once(monkeypatch):
    monkeypatch.setattr(evaluation, "answer", lambda *args: [Answer("7", [0])])
    recipe = load_recipe("quickstart").recipe
    rewards = build_rewards(recipe.rewards, recipe.data.layout)
    with calls() as heard:
        evaluate(None, None, [{"prompt": "?", "answer": "7"}], recipe, rewards)
    assert [call.name for call in heard] == ["math_correct", "think_format", "math_correct"]  # the last of the sampled


def test_without_a_form_no_share_of_it_is_measured(monkeypatch):
    monkeypatch.setattr(evaluation, "answer", lambda *args: [Answer("{}", [0])])
    recipe = load_recipe("quickstart", ["data.prompt=plain", f"rewards=[{TEXT}]"]).recipe
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}]
    found = evaluate(None, None, [{"prompt": chat, "answer": "7"}], recipe)
    assert found.figures["format_rate"] is None
    assert found.samples[0]["prompt"] == chat
