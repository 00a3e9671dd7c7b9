import json
import re

import pytest

from gspo_lite import folder as run_folder
from gspo_lite.report import verdict, write_model_card, write_report

FIGURES = {
    "accuracy": 0.5, "ci95": [0.45, 0.55], "sampled_accuracy": 0.4, "sampled_ci95": [0.35, 0.45],
    "lenient_accuracy": 0.6, "format_rate": 0.7, "n": 400, "mean_tokens": 20.0, "rewards": {"math_correct": 0.5},
}  # fmt: skip
BETTER = {**FIGURES, "accuracy": 0.9, "ci95": [0.87, 0.93], "lenient_accuracy": 0.95, "format_rate": 0.9}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[2J\u202e" + "y" * 5000


def make_run(folder, *, evaluation=None, steps=12, text="<answer>1</answer>"):
    folder.mkdir(exist_ok=True)
    (folder / run_folder.RECIPE).write_text(
        "model: {name: org/base, lora: {rank: 8}}\ndata: {source: arithmetic, prompt: think_answer}\n"
        "objective: {algorithm: gspo}\ntraining: {max_steps: 12}\n"
    )
    facts = {"command": f"gspo-lite run x {text}", "hardware": "CPU", "gspo_lite": "0", "seconds": {"train": 60.0}}
    run_folder.write_json(folder / run_folder.ENVIRONMENT, facts)
    metrics = [
        {"step": n, "reward": n / 12, "entropy": None, "rewards/math_correct/mean": 0.5} for n in range(1, steps + 1)
    ]
    run_folder.append_jsonl(folder / run_folder.METRICS, metrics)
    if evaluation:
        run_folder.write_json(folder / run_folder.EVAL, evaluation)
        for phase, right in (("before", False), ("after", True)):
            row = {"phase": phase, "index": 0, "prompt": text, "answer": "1", "completion": text, "correct": right}
            run_folder.append_jsonl(folder / run_folder.EVAL_SAMPLES, [row])
        sample = {
            "step": 1,
            "prompt": text,
            "completion": text,
            "answer": "1",
            "rewards": {"a": None},
            "advantage": None,
        }
        run_folder.append_jsonl(folder / run_folder.COMPLETIONS, [sample])
    return folder


def test_the_verdict_says_no_more_than_the_intervals_allow():
    assert verdict({"before": FIGURES, "after": BETTER}) == (
        "Held-out accuracy rose from 50.0% to 90.0% (95% intervals 45% to 55% and 87% to 93%) on 400 unseen problems."
    )
    assert " fell from 90.0% to 50.0%" in verdict({"before": BETTER, "after": FIGURES})
    near = {**FIGURES, "accuracy": 0.52, "ci95": [0.47, 0.57]}
    assert "may be chance" in verdict({"before": FIGURES, "after": near})
    assert "did not end" in verdict({"before": FIGURES})
    assert "Nothing was measured" in verdict({})


def test_the_report_is_one_file_that_needs_nothing_else(tmp_path):
    page = write_report(make_run(tmp_path / "run", evaluation={"before": FIGURES, "after": BETTER})).read_text()
    assert "rose from 50.0% to 90.0%" in page
    assert page.count("<svg") == 2  # reward and math_correct; entropy has no values
    assert not re.search(r"<script|<link|<img|@import|src=|url\(http", page)
    assert "+35.0 points" in page  # lenient accuracy, apart from
    assert "+20.0 points" in page  # the format


def test_hostile_text_is_escaped_stripped_and_shortened(tmp_path):
    run = make_run(tmp_path / "run", evaluation={"before": FIGURES, "after": BETTER}, text=HOSTILE)
    page = write_report(run).read_text()
    assert "<script>" not in page
    assert "<img" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "characters more" in page
    assert len(page) < 2_000_000


@pytest.mark.parametrize("steps", [0, 1])
def test_a_run_that_did_not_get_far_is_reported_as_that(tmp_path, steps):
    page = write_report(make_run(tmp_path / "run", steps=steps)).read_text()
    assert "Nothing was measured" in page
    assert "no curve to draw" in page


def test_the_model_card_has_front_matter_and_figures(tmp_path):
    card = write_model_card(make_run(tmp_path / "run", evaluation={"before": FIGURES, "after": BETTER})).read_text()
    assert card.startswith("---\nlibrary_name: peft\nbase_model: org/base\ntags:\n- gspo\n")
    assert "| Greedy accuracy | 50.0% (45% to 55%) | 90.0% (87% to 93%) |" in card
    assert "AutoPeftModelForCausalLM" in card


def test_json_of_the_run_is_what_the_report_reads(tmp_path):
    run = make_run(tmp_path / "run", evaluation={"before": FIGURES})
    assert json.loads((run / run_folder.EVAL).read_text())["before"]["n"] == 400
