"""Golds as data sets write them, and those that no completion can match."""

import json

import pytest

from gspo_lite import load_parts
from gspo_lite.checked_recipe import load_recipe
from gspo_lite.errors import DataError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.golds import check_golds, unusable_golds
from gspo_lite.rewards.contract.registry import build_rewards
from gspo_lite.rewards.grading.golds import gold_text, why_unusable
from gspo_lite.rewards.math import exact_match, grade, numeric_match
from tests.rewards.grading_cases import tag

READ = [
    ("7", "7"),
    (7, "7"),
    (0, "0"),
    (0.5, "0.5"),
    ("#### 7", "7"),
    ("3 + 4 = 7\n#### 7\nThe answer is: 7", "7"),
    ("#### 1,200\n", "1,200"),
    ("#### 7\nand this is all", "7"),
    ("<answer>C</answer>", "C"),
    ("<think>maybe #### 3</think>\n<answer> 4 </answer>", "4"),
    ("so it is $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
    ("We add both. The answer is: 12", "12"),
    ("Both legs are 3 and 4.\nFinal answer: 5.", "5"),
    ("C. Rome", "C. Rome"),
    ("['4', '5']", "4, 5"),
    ('["x = 1"]', "x = 1"),
    (["4", "5"], "4, 5"),
    ([4, 5.5], "4, 5.5"),
    (["12"], "12"),
    ("[4, 5]", "[4, 5]"),  # an interval, and no list of Python's
    ([[1, 2], [3, 4]], "[[1, 2], [3, 4]]"),
    ("(2, 5)", "(2, 5)"),
    ("no real solutions", "no real solutions"),
]
UNUSABLE = [
    (None, "NoneType is not an answer"),
    (True, "bool is not an answer"),
    (float("nan"), "float is not an answer"),
    (float("inf"), "float is not an answer"),
    ({"value": 7}, "dict is not an answer"),
    ([], "list is not an answer"),
    (["4", None], "list is not an answer"),
    ("", "empty"),
    (" \n", "empty"),
    ("####", "empty"),
    ("\\boxed{}", "empty"),
    ("$$", "stands for no answer"),
    ("nan", "stands for no answer"),
    ("proof", "stands for no answer"),
    ("Proof.", "stands for no answer"),
    ("notfound", "stands for no answer"),
    ("None", "stands for no answer"),
    ("null", "stands for no answer"),
    ("N/A", "stands for no answer"),
    ("?", "stands for no answer"),
    ("#### n/a", "stands for no answer"),
    ("Ann sold 24 clips in May. In all she sold 72 of them.", "no answer found in its prose"),
    ("First add both sides of it\nand then take the root", "no answer found in its prose"),
]


@pytest.mark.parametrize(("gold", "text"), READ, ids=[repr(gold) for gold, _ in READ])
def test_a_gold_is_read_as_data_sets_write_it(gold, text):
    assert gold_text(gold) == text
    assert grade(tag(text), gold, "tag") is True


@pytest.mark.parametrize(("gold", "why"), UNUSABLE, ids=[repr(gold) for gold, _ in UNUSABLE])
def test_an_unusable_gold_matches_nothing_not_even_itself(gold, why):
    assert why_unusable(gold) == why
    assert gold_text(gold) is None
    assert grade(tag(str(gold)), gold, "tag") is None


def test_arrays_of_numpy_are_lists():
    numpy = pytest.importorskip("numpy")
    assert gold_text(numpy.array([4, 5])) == "4, 5"
    assert gold_text(numpy.array(["4", "5"])) == "4, 5"


def test_what_a_reward_can_match_depends_on_the_reward():
    prose = "Ann sold 24 clips in May. In all she sold 72 of them."
    assert exact_match([tag(prose), tag("proof")], answer=[prose, "proof"]) == [1.0, None]
    assert numeric_match([tag("x")], answer=["x"]) == [None]


class Rows(list):
    """As much of a data set as is looked at."""

    column_names = ("prompt", "answer")

    def __getitem__(self, name):
        return [row[name] for row in self]


def rows(*golds):
    return Rows({"prompt": "?", "answer": gold} for gold in golds)


def judges(name):
    return build_rewards([RewardSettings(name="think_format"), RewardSettings(name=name)])


def test_unusable_golds_are_counted_and_the_first_five_shown():
    golds = ["7", "proof", None, "N/A", "8", "?", "", "notfound"]
    (note,) = check_golds(judges("math_correct"), rows(*golds), "of `mine.jsonl`")
    assert note.startswith("6 of 8 golds of `mine.jsonl` can never be matched by `math_correct`")
    assert "problem 2 `proof`: stands for no answer; problem 3 `None`: NoneType is not an answer; problem 4" in note
    assert "problem 7 ``: empty; ..." in note
    assert "notfound" not in note


def test_golds_that_can_be_matched_need_no_note():
    assert check_golds(judges("math_correct"), rows("7", "x + 1"), "of `mine.jsonl`") == []
    assert check_golds(judges("numeric_match"), rows("7", "x + 1"), "of `mine.jsonl`")[0].startswith("1 of 2")
    assert check_golds(build_rewards([RewardSettings(name="think_format")]), rows("proof"), "of `mine.jsonl`") == []


def test_data_without_any_usable_gold_is_refused():
    with pytest.raises(DataError, match=r"no gold of `mine\.jsonl` can be matched by `math_correct`: problem 1"):
        check_golds(judges("math_correct"), rows("proof", "proof"), "of `mine.jsonl`")


def test_unusable_golds_are_numbered_from_one():
    assert unusable_golds(judges("math_correct"), ["proof", "7"]) == [(1, "proof", "stands for no answer")]


def test_no_model_is_loaded_for_data_without_a_usable_gold(tmp_path, monkeypatch):
    (tmp_path / "golds.jsonl").write_text('{"prompt": "1?", "answer": "proof"}\n{"prompt": "2?", "answer": "N/A"}\n')
    recipe = load_recipe("quickstart", [f"data.source={tmp_path}/golds.jsonl"], allow_outside=True).recipe
    monkeypatch.setattr(load_parts, "load_model", None)
    monkeypatch.setattr(load_parts, "choose_backend", lambda model: "transformers")
    with pytest.raises(DataError, match="no gold of"):
        load_parts.load_parts(recipe)


@pytest.mark.parametrize(("source", "held_out"), [("some", "usable"), ("usable", "some")])
def test_golds_to_train_on_and_held_out_are_counted_before_a_model_is_loaded(tmp_path, monkeypatch, source, held_out):
    class Loaded(Exception):
        pass

    def load_model(*_, **__):
        raise Loaded

    def load(train, test):
        files = {"data.source": train, "data.eval.source": test}
        parts = load_recipe(
            "quickstart", [f"{key}={tmp_path / one}.jsonl" for key, one in files.items()], allow_outside=True
        )
        return load_parts.load_parts(parts.recipe)

    for name, golds in {"usable": ["7", "8"], "some": ["9", "proof"], "none": ["proof", "N/A"]}.items():
        lines = [json.dumps({"prompt": f"{name} {index}?", "answer": gold}) for index, gold in enumerate(golds)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    said = []
    monkeypatch.setattr(load_parts, "load_model", load_model)
    monkeypatch.setattr(load_parts, "choose_backend", lambda model: "transformers")
    monkeypatch.setattr(load_parts, "check_examples", lambda recipe, problems: said.extend(problems.notes))
    with pytest.raises(Loaded):
        load(source, held_out)
    assert [note for note in said if "1 of 2 golds" in note and "`proof`" in note]
    with pytest.raises(DataError, match="no gold of "):
        load("none" if source == "some" else "usable", "none" if held_out == "some" else "usable")
