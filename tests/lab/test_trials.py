"""The reward lab: made-up completions are what they say, and hostile ones that score well are found."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.cli import app
from gspo_lite.completion.text import Layout
from gspo_lite.errors import DataError
from gspo_lite.lab.attempts import differs, hostile, in_form, instructive, other_than
from gspo_lite.lab.judging import MADE_UP_IDS, judge, made_up_ids, question_of, stress
from gspo_lite.lab.trials import UNANSWERED, bench, lines_of_findings, lines_of_trials, stressed, trials
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.guarded import GuardedReward
from gspo_lite.rewards.contract.registry import build_rewards
from gspo_lite.rewards.math import grade

GSM8K = next(
    (folder for parent in Path(__file__).resolve().parents[2:4] if (folder := parent / "shared/data/gsm8k").is_dir()),
    Path("nowhere"),
)
MARKERS = ("tag", "boxed", "gsm8k")
ROWS = [
    {"prompt": [{"role": "user", "content": "What is 47 + 23?"}], "answer": "70"},
    {"prompt": "How many are 1 and 1?", "answer": 2},
    {"prompt": "Zero?", "answer": "0"},
    {"prompt": "What is half of 1?", "answer": "\\frac{1}{2}"},
    {"prompt": "What is 10 * 120?", "answer": "1,200"},
    {"prompt": "Solve x^2 = 2.", "answer": "\\sqrt{2}"},
]


def rewards(*names, **options):
    return build_rewards([RewardSettings(name=name, options=options) for name in names])


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["answer"]))
def test_no_hostile_completion_scores_like_a_right_answer_under_math_correct(row, marker):
    found, _ = stress(rewards("math_correct", marker=marker), row, Layout(marker), 200)
    assert [str(one) for one in found] == []


@pytest.mark.skipif(not GSM8K.is_dir(), reason="no local gsm8k")
@pytest.mark.parametrize("marker", MARKERS)
def test_no_finding_on_gsm8k(marker):
    lines = (GSM8K / "test.jsonl").read_text(encoding="utf-8").splitlines()[:40]
    made = rewards("math_correct", marker=marker)
    for line in lines:
        row = json.loads(line)
        found, _ = stress(made, {"prompt": row["question"], "answer": row["answer"]}, Layout(marker), 100)
        assert [str(one) for one in found] == []


def rewarded(function, weight=1.0):
    """Kinds of hostile completions that a reward pays like a right one."""
    made = GuardedReward(function, "mine", weight, [])
    return {one.attempt.kind for one in stress([made], ROWS[0], Layout(), 50)[0]}


def texts(completions):
    return [completion[0]["content"] for completion in completions]


def test_rewards_that_can_be_cheated_are_found():
    def anywhere(completions, answer, **columns):
        return [float(gold in text) for text, gold in zip(texts(completions), answer, strict=True)]

    def any_answer(completions, **columns):
        return [float("<answer>" in text) for text in texts(completions)]

    def long(completions, completion_ids, **columns):
        return [float(len(ids)) for ids in completion_ids]

    assert {"right or wrong", "right among others", "right in the thoughts only", "many boxes"} <= rewarded(anywhere)
    assert {"empty form", "tag spam", "prompt echo in form", "zero", "every number"} <= rewarded(any_answer)
    assert {"longest", "repeated", "tag spam", "prompt echo repeated"} <= rewarded(long)
    assert "empty" in rewarded(lambda completions, **columns: [0.0] * len(completions))
    assert "empty" not in rewarded(anywhere)
    assert "empty" in rewarded(anywhere, weight=-1.0)


def test_a_finding_names_who_pays_it():
    made = [*rewards("math_correct"), GuardedReward(lambda completions, **c: [2.0] * len(completions), "gift", 1.0, [])]
    assert stress(made, ROWS[0], Layout(), 50)[0] == []
    made[1].function = lambda completions, **c: [2.0 * ("so so" in text) for text in texts(completions)]
    found = stress(made, ROWS[0], Layout(), 50)[0]
    assert [str(one) for one in found] == ["longest: scores 2, a right answer 1; rewarded by `gift`"]


def test_a_sum_that_is_not_worked_out_is_a_note_and_no_finding():
    found, notes = stress(rewards("math_correct"), ROWS[0], Layout(), 50)
    assert found == []
    assert [(one.attempt.kind, one.verdict.extracted) for one in notes] == [("the question's own sum", "47 + 23")]


@pytest.mark.parametrize("marker", MARKERS)
def test_instructive_completions_are_what_they_say(marker):
    for row in ROWS[:3]:
        for attempt in instructive(str(row["answer"]), Layout(marker)):
            formed = attempt.role == "right" and attempt.kind != "right, no form"
            assert grade(attempt.text, row["answer"], marker) is formed, attempt


BOX = """
def boxes(completions, **_):
    return [float("boxed" in str(completion)) for completion in completions]
"""


def recipe_with(*sets):
    return load_recipe("quickstart", sets, allow_outside=True).recipe


def first_lines(recipe):
    """What `rewards test` and `rewards stress` say first."""
    return next(lines_of_trials(*trials(recipe, None, 2))), next(lines_of_findings(stressed(recipe, 2)))


def test_a_right_answer_that_is_not_rewarded_is_reported_first(tmp_path):
    (tmp_path / "box.py").write_text(BOX)
    mine = f"rewards=[{{name: '{tmp_path}/box.py:boxes'}}, {{name: think_format, weight: 0.5}}]"
    said = (
        "A right answer in the recipe's own form is not rewarded: it scores 0.5, a wrong one 0.5 (2 of 2 problems), as "
        "in `<think>Let me work this out step by step.</think><answer>70</answer>`. Check the form that the rewards "
        "read, and the golds"
    )
    assert first_lines(recipe_with(mine)) == (said, said)


def test_golds_that_no_answer_can_match_are_said_first_and_not_tried(tmp_path):
    rows = [{"prompt": f"{n}?", "answer": gold} for n, gold in enumerate(["2", "$$", "3", "4"])]
    (tmp_path / "golds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = recipe_with(f"data.source={tmp_path}/golds.jsonl")
    for line in first_lines(recipe):
        assert line.startswith("note: 1 of 3 golds")
        assert "problem 2 `$$`: stands for no answer" in line
    assert [trial.row["answer"] for trial in trials(recipe, None, 2)[1]] == ["2", "3"]


def test_rewards_are_not_tried_on_data_without_a_usable_gold(tmp_path):
    (tmp_path / "golds.jsonl").write_text('{"prompt": "1?", "answer": "proof"}\n{"prompt": "2?", "answer": "N/A"}\n')
    with pytest.raises(DataError, match="no gold of"):
        trials(recipe_with(f"data.source={tmp_path}/golds.jsonl"), None, 2)


@pytest.mark.parametrize("style", ["think_answer", "boxed", "plain"])
def test_no_warning_comes_first_where_right_answers_are_rewarded(style):
    recipe = recipe_with(f"data.prompt={style}")
    assert bench(recipe).layout == recipe.data.layout
    tested, stress_said = first_lines(recipe)
    assert tested.startswith("problem: ")
    assert stress_said.startswith("note: the question's own sum: scores 1")


def test_an_answer_that_is_all_of_the_text_is_tried_as_such(tmp_path):
    rows = [{"prompt": f"{n}: age?", "completion": '{"age": 7}'} for n in range(3)]
    (tmp_path / "json.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = [f"data.source={tmp_path}/json.jsonl", "data.prompt=plain"]
    sets += ["data.columns.answer=completion", "rewards=[{name: json_valid, options: {marker: text}}]"]
    one, done = trials(recipe_with(*sets), None, 1)
    assert one.layout == Layout("text")
    assert [verdict.total for verdict in done[0].verdicts][:4] == [1.0, 0.0, 1.0, 0.0]
    tried = stressed(recipe_with(*sets), 1)
    assert (tried.findings, len(tried.trials)) == ([], 1)


def test_completions_of_a_file_are_not_held_to_be_right(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"prompt": "?", "answer": "2", "completion": "3"}\n')
    assert next(lines_of_trials(*trials(recipe_with(), tmp_path / "c.jsonl", 1))).startswith("problem: ")


@pytest.mark.parametrize(
    ("reward", "notes"),
    [
        ("{name: math_correct}", []),
        ("{name: length_penalty}", [MADE_UP_IDS]),
        ("{name: 'trl.rewards:get_repetition_penalty_reward'}", [MADE_UP_IDS]),
    ],
)
def test_made_up_ids_are_said_to_be_so_where_a_reward_reads_them(reward, notes):
    assert trials(recipe_with(f"rewards=[{reward}]"), None, 1)[0].notes == notes


def test_what_a_reward_prints_is_kept_out_of_the_data(tmp_path):
    code = "def f(completions, **_):\n    print('noise')\n    return [1.0] * len(completions)\n"
    (tmp_path / "mine.py").write_text(code)
    rewards = f"rewards=[{{name: '{tmp_path}/mine.py:f'}}]"
    words = ["rewards", "test", "quickstart", "--json", "--allow-outside", "--problems", "1", "--set", rewards]
    done = CliRunner().invoke(app, words)
    assert [record["rewards"] for record in json.loads(done.stdout)] == [{"f": 1.0}] * 7
    assert "noise" in done.stderr


def test_problems_without_answers_get_completions_that_claim_none(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Write a line."}\n{"prompt": "Write two."}\n')
    recipe = recipe_with(f"data.source={tmp_path}/rows.jsonl", "rewards=[{name: think_format}]")
    _, (trial,) = trials(recipe, None, 1)
    assert [attempt.kind for attempt in trial.attempts] == ["in form", "no form", "cut off", "empty"]
    assert not any("None" in attempt.text for attempt in trial.attempts)
    tried = stressed(recipe, 1)
    assert (tried.findings, tried.unmatched) == ([], [UNANSWERED])


def test_hostile_completions_are_of_every_kind_once():
    kinds = [attempt.kind for attempt in hostile("What is 1 + 2?", "3", Layout(), 64)]
    assert len(kinds) == len(set(kinds)) > 30
    longest = next(a for a in hostile("?", "3", Layout(), 1000) if a.kind == "longest")
    assert len(made_up_ids(longest.text)) == pytest.approx(1000, rel=0.01)


def test_a_verdict_has_values_weights_and_the_extracted_answer():
    made = [
        GuardedReward(lambda completions, **c: [None, 2.0], "half", 0.5, []),
        GuardedReward(lambda completions, topic, **c: [float(len(topic[0])), 0.0], "topic", 2.0, ["topic"]),
    ]
    first, second = judge(made, {"prompt": "p", "topic": "abc"}, [in_form(Layout("boxed"), "7"), ""], Layout("boxed"))
    assert (first.values, first.total, first.extracted) == ({"half": None, "topic": 3.0}, 6.0, "7")
    assert (second.values, second.total, second.extracted) == ({"half": 2.0, "topic": 0.0}, 1.0, None)


@pytest.mark.parametrize(
    ("gold", "other"),
    [("70", "71"), ("0.5", "1.5"), ("70000000", "70000001"), ("1,200", "1201"), ("north", "none of these")],
)
def test_a_wrong_answer_is_of_the_same_kind(gold, other):
    assert other_than(gold) == other
    assert differs(other, gold)


def test_a_question_is_the_last_message():
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    assert (question_of(chat), question_of("q")) == ("q", "q")


def test_made_up_ids_are_one_for_every_four_bytes():
    assert [len(made_up_ids(text)) for text in ("", "abcd", "abcde", "ä" * 4)] == [0, 1, 2, 2]
