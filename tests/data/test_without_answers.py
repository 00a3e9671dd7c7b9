"""Problems without answers: trained and measured by rewards that need none, refused by those that do."""

import json

import pytest

from gspo_lite import load_recipe
from gspo_lite.errors import DataError, UsageError
from gspo_lite.load_parts import load_parts
from gspo_lite.report.summary import lines_of
from gspo_lite.report.verdict import comparison, verdict
from gspo_lite.run import run

SHORT = """
def short(completions, level, **columns):
    assert all(int(n) >= 0 for n in level)
    return [1.0 if len(chat[0]["content"]) < 40 else 0.0 for chat in completions]
"""
QUICK = ["data.source=rows.jsonl", "training.max_steps=2", "training.per_device_train_batch_size=8", "data.columns={}"]
OWN = ["rewards=[{name: 'mine.py:short'}]"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SHORT)
    rows = [{"prompt": f"What is {n} + 1?", "level": n if n % 2 else str(n), "tools": {str(n): n}} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_run_needs_no_answers_if_its_rewards_need_none(home, starter):
    result = run(load_recipe("quickstart", [*QUICK, *OWN]).recipe)
    figures = json.loads((result.folder / "eval.json").read_text())
    assert (figures["after"]["accuracy"], figures["after"]["ci95"], figures["after"]["n"]) == (None, None, 4)
    assert 0 <= figures["after"]["rewards"]["short"] <= 1
    assert "Held-out problems have no answers, so accuracy was not measured. Mean rewards: short " in result.summary
    page = (result.folder / "report.html").read_text()
    assert "not measured" in page
    assert "Held-out accuracy" not in page


def test_a_reward_that_needs_answers_is_named_before_a_model_is_loaded(home):
    with pytest.raises(UsageError, match="reward `math_correct` reads the column `answer`; the data has `prompt`"):
        load_parts(load_recipe("quickstart", QUICK).recipe)


def test_held_out_problems_without_the_columns_of_training_are_refused(home):
    (home / "test.jsonl").write_text('{"prompt": "What is 1 + 1?"}\n')
    with pytest.raises(UsageError, match="reward `short` reads the column `level`; the data has `prompt`"):
        load_parts(load_recipe("quickstart", [*QUICK, *OWN, "data.eval.source=test.jsonl"]).recipe)


@pytest.mark.parametrize("source", ["null", "more.jsonl"])
def test_a_warm_up_that_needs_answers_is_refused_before_a_model_is_loaded(home, source):
    (home / "more.jsonl").write_text((home / "rows.jsonl").read_text())
    overrides = [*QUICK, *OWN, f"warmup.source={source}", "warmup.completion='<answer>{answer}</answer>'"]
    with pytest.raises(DataError, match=r"`warmup\.completion`: there is no column `answer`; the row has `prompt`"):
        load_parts(load_recipe("quickstart_warmup", overrides).recipe)


FIGURES = {"accuracy": None, "ci95": None, "sampled_accuracy": None, "sampled_ci95": None, "lenient_accuracy": None,
           "format_rate": 0.5, "mean_tokens": 3.0, "n": 4, "rewards": {"short": 0.25}}  # fmt: skip


def test_what_was_not_measured_is_not_shown_as_zero():
    after = {**FIGURES, "rewards": {"short": 0.75}}
    said = "Held-out problems have no answers, so accuracy was not measured."
    assert verdict({"before": FIGURES, "after": after}) == f"{said} Mean rewards: short 0.250 to 0.750."
    assert verdict({"before": FIGURES}) == f"{said} Mean rewards: short 0.250."
    assert verdict({"before": {**FIGURES, "rewards": {}}}) == said
    assert "greedy accuracy               not measured" in lines_of(FIGURES)


def test_runs_without_accuracy_are_not_ranked():
    class Run:
        def __init__(self, name):
            self.name, self.evaluation, self.verdict = name, {"before": FIGURES, "after": FIGURES}, "so"

    assert comparison([Run("a"), Run("b")]) == ["a: so", "b: so"]
