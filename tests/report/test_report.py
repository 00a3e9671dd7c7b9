import html
import json
import re

import pytest

from gspo_lite.errors import UsageError
from gspo_lite.report import curves, svg, texts, verdict, write_comparison, write_reports
from gspo_lite.report.card import for_programs
from gspo_lite.report.facts import read_run
from gspo_lite.report.page import about, page, render
from gspo_lite.system import run_folder

FIGURES = {
    "accuracy": 0.5, "ci95": [0.45, 0.55], "sampled_accuracy": 0.4, "sampled_ci95": [0.35, 0.45],
    "lenient_accuracy": 0.6, "format_rate": 0.7, "n": 400, "mean_tokens": 20.0, "rewards": {"math_correct": 0.5},
}  # fmt: skip
BETTER = {**FIGURES, "accuracy": 0.9, "ci95": [0.87, 0.93], "lenient_accuracy": 0.95, "format_rate": 0.9}
BOTH = {"before": FIGURES, "after": BETTER}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[2J\u202e|`</pre>" + '"' * 5000
RECIPE = """
model: {name: org/base, lora: {rank: 8}}
data: {source: arithmetic, prompt: think_answer}
objective: {algorithm: gspo, epsilon: 3.0e-4, epsilon_high: 4.0e-4}
training: {max_steps: 12, steps_per_generation: 4, gradient_accumulation_steps: 1}
output: {dir: somewhere}
"""


def step_row(n):
    ratio = {"mean": 1e-4, "std": 2e-3, "min": -6e-3, "max": 5e-3}
    return {
        "step": n, "reward": n / 12, "entropy": None, "entropy_active_rows": 0.5, "rewards/math_correct/mean": 0.5,
        "gspo/clip_low_sequences": 0.25, "gspo/clip_high_sequences": 0.5, "clip_ratio/region_mean": 0.75,
        "frac_reward_zero_std": 0.1, "completions/mean_length": 20.0, "tokens_per_second": 900.0,
        **{f"gspo/log_ratio_{name}": value for name, value in ratio.items()},
        **({"gspo/noise_floor": 2e-5} if n % 4 == 1 else {}),
    }  # fmt: skip


def make_run(folder, *, evaluation=None, steps=12, text="<answer>1</answer>", problems=1, recipe=RECIPE):
    """A run folder as a run leaves it, as far as it came."""
    folder.mkdir(exist_ok=True)
    (folder / run_folder.RECIPE).write_text(recipe)
    facts = {"command": f"gspo-lite run x {text}", "hardware": "CPU", "gspo_lite": "0", "seconds": {"train": 60.0}}
    run_folder.write_json(folder / run_folder.ENVIRONMENT, facts)
    run_folder.append_jsonl(folder / run_folder.METRICS, [step_row(n) for n in range(1, steps + 1)])
    if evaluation:
        run_folder.write_json(folder / run_folder.EVAL, evaluation)
    rewards = {"math_correct": 1.0, text[:60]: None}
    asked = [{"role": "system", "content": f"Be brief. {text}"}, {"role": "user", "content": f"One\n\n{text}"}]
    about = {"prompt": asked, "answer": text, "completion": text, "rewards": rewards}
    for phase, right in (("before", False), ("after", True)):
        rows = [{"phase": phase, "index": n, "correct": right and n % 2 == 0, **about} for n in range(problems)]
        run_folder.append_jsonl(folder / run_folder.EVAL_SAMPLES, rows if phase in (evaluation or {}) else [])
    marks = [[0, 8, 0.5], [8, 9, -1.0], [9, 17, 0.0]]
    extra = {"math_correct": {"parsed": text, "close": 0.5}}
    sampled = {"step": 1, **about, "advantage": 0.5, "token_advantages": marks, "extra": extra}
    run_folder.append_jsonl(folder / run_folder.COMPLETIONS, [sampled, {**sampled, "advantage": None}])
    return folder


def page_of(folder):
    """The page alone, without the plots beside it, which take longer."""
    run = read_run(folder)
    return page([run], curves.charts([run]))


def test_the_verdict_says_no_more_than_the_intervals_allow():
    assert verdict({"before": FIGURES, "after": BETTER}) == (
        "Held-out accuracy rose from 50.0% to 90.0% (95% intervals 45% to 55% and 87% to 93%) on 400 unseen problems."
    )
    assert " fell from 90.0% to 50.0%" in verdict({"before": BETTER, "after": FIGURES})
    near = {**FIGURES, "accuracy": 0.52, "ci95": [0.47, 0.57]}
    assert "may be chance" in verdict({"before": FIGURES, "after": near})
    assert "did not finish" in verdict({"before": FIGURES})
    assert "Nothing was measured" in verdict({})


def test_the_page_needs_nothing_else_and_allows_no_script_but_its_own(tmp_path):
    text = page_of(make_run(tmp_path / "run", evaluation=BOTH))
    assert "rose from 50.0% to 90.0%" in text
    assert not re.search(r"<link|<img|@import|src=|url\(|https?:", text)
    assert text.count("<script") == 1
    assert re.search(r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/=]{44}'", text)


def test_what_rewards_logged_stands_beside_a_completion_cut_and_escaped(tmp_path):
    text = page_of(make_run(tmp_path / "run", text=HOSTILE))
    assert text.count('<p class="side soft">math_correct, close: 0.5</p>') == 2
    parsed = re.findall(r'<p class="side soft">math_correct, parsed: (.*)</p>', text)
    assert len(parsed) == 2
    assert all(one.startswith("&lt;/script&gt;&lt;script&gt;alert(1)") for one in parsed)
    assert [len(html.unescape(one)) for one in parsed] == [200, 200]


def test_every_curve_is_there_once(tmp_path):
    drawn = curves.charts([read_run(make_run(tmp_path / "run", evaluation=BOTH, steps=16))])
    assert [chart.title for chart in drawn] == [
        "Held-out accuracy", "Reward, weighted sum", "Reward math_correct", "Groups without variance",
        "Completion length, tokens", "Entropy of rows with an advantage, nats per token",
        "Ratio clipped, share of sequences", "log s, the sequence ratio", "Speed, tokens per second",
    ]  # fmt: skip
    ratio = drawn[-2]
    assert [(band.label, *band.points[0][1:]) for band in ratio.bands] == [
        ("smallest to largest", -6e-3, 5e-3),
        ("one standard deviation", pytest.approx(1e-4 - 2e-3), pytest.approx(1e-4 + 2e-3)),
        ("noise floor", pytest.approx(-2e-5), pytest.approx(2e-5)),
    ]
    assert ratio.rules == {
        "clip": pytest.approx(-3.0005e-4, rel=1e-4),
        "clip, upper": pytest.approx(3.9992e-4, rel=1e-4),
    }
    assert [x for x, _ in ratio.series[0].points] == [4, 8, 12, 16]  # four steps on each rollout


def test_a_rollouts_steps_are_pooled():
    figures = {1: (0.0, 0.0, 0.0, 0.0), 2: (2.0, 1.0, -1.0, 4.0)}
    names = [f"gspo/log_ratio_{name}" for name in curves.LOG_RATIO]
    rows = [{"step": step, **dict(zip(names, values, strict=True))} for step, values in figures.items()]
    # mean (0 + 2) / 2; mean square ((0 + 0) + (4 + 1)) / 2 = 2.5, less 1 is 1.5
    assert curves.pooled_ratio(rows) == (2, 1.0, pytest.approx(1.5**0.5), -1.0, 4.0)


def test_gains_in_correctness_and_in_format_are_separated(tmp_path):
    text = page_of(make_run(tmp_path / "run", evaluation=BOTH, problems=4))
    assert "anywhere in the text: +35.0 points" in text
    assert "correct format: +20.0 points. Format alone explains +5.0 of the +40.0 points" in text
    assert "2 became right, 0 became wrong" in text


def test_the_gain_of_a_warm_up_is_separated(tmp_path):
    warmed = {**FIGURES, "accuracy": BOTH["before"]["accuracy"] + 0.1}
    page = page_of(make_run(tmp_path / "run", evaluation={**BOTH, "warmed": warmed}))
    rest = (BOTH["after"]["accuracy"] - warmed["accuracy"]) * 100
    assert '<th scope="col" class="number">warmed</th>' in page
    assert f"The supervised warm-up explains +10.0 of these points, RL {rest:+.1f}." in page


def test_hostile_text_is_escaped_stripped_and_shortened(tmp_path):
    run = make_run(tmp_path / "run", evaluation=BOTH, text=HOSTILE)
    run_folder.note_event(run, 3, "warning", HOSTILE, HOSTILE)
    text = write_reports(run).read_text(encoding="utf-8")
    markdown = (run / "report.md").read_text()
    for written in (text, markdown):
        assert "\x1b" not in written
        assert "\u202e" not in written
        assert "characters more" in written
    assert text.count("<script") == text.count("</script") == 1
    assert "<img" not in text
    body = [line for line in markdown.splitlines() if not line.startswith("    ")]
    assert not any(re.search(r"(?<!\\)<", line) for line in body)
    assert (run / "README.md").read_text().count("<") == 0


def test_a_long_run_with_long_completions_stays_under_two_megabytes(tmp_path):
    run = make_run(tmp_path / "run", evaluation=BOTH, steps=6000, text=HOSTILE, problems=400)
    assert len(page_of(run).encode()) < 2_000_000


def test_tokens_are_colored_by_their_advantage():
    marks = [[0, 2, 0.5], [2, 4, 0.5], [4, 6, -1.0], [6, 7, 0.0], [7, 9, 0.1]]
    row = {"completion": "aabbcc<\x1bdXend", "token_advantages": marks}
    assert texts.colored(row) == [
        ("aabb", "p2", 0.5), ("cc", "n3", -1.0), ("<", "", 0.0), ("\ufffdd", "p1", 0.1), ("Xend", "", 0.0),
    ]  # fmt: skip
    assert texts.colored({"completion": "x", "token_advantages": [[0, 1, 0.3534]]}) == [("x", "p3", 0.3534)]
    assert texts.colored({"completion": "x", "token_advantages": [[0, 1, 0.0]]}) == []


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("evaluation", [None, {"before": FIGURES}, BOTH])
def test_a_run_that_did_not_get_far_is_reported_as_that(tmp_path, steps, evaluation):
    text = page_of(make_run(tmp_path / "run", steps=steps, evaluation=evaluation))
    assert ("Finished" in text) == (evaluation is BOTH)
    assert ("Nothing was measured" in text) == (evaluation is None)
    assert ("Nothing was logged" in text) == (steps < 2 and evaluation is None)
    assert ("Reward, weighted sum" in text) == (steps == 2)


def test_a_killed_run_with_half_a_line_is_reported(tmp_path):
    run = make_run(tmp_path / "run", steps=3)
    with (run / run_folder.METRICS).open("a") as file:
        file.write('{"step": 4, "rew')
    (run / run_folder.COMPLETIONS).unlink()
    assert "Not finished: 3 of 12 steps are logged" in page_of(run)


def test_warnings_and_the_cause_of_a_stop_are_reported(tmp_path):
    run = make_run(tmp_path / "run", steps=5, evaluation={"before": FIGURES})
    run_folder.note_event(run, 2, "warning", "the reward is flat", "look at it")
    run_folder.note_event(run, 5, "stopped", "KeyboardInterrupt")
    text = write_reports(run).read_text(encoding="utf-8")
    assert "Stopped after 5 of 12 steps: KeyboardInterrupt" in text
    assert "step 2: the reward is flat<br>" in text
    assert "None: no warning" not in text
    assert "step 2: the reward is flat (look at it)" in (run / "report.md").read_text()


def test_ctrl_c_is_no_warning(tmp_path):
    run = make_run(tmp_path / "run", evaluation=BOTH)
    run_folder.note_event(run, 5, "stopped", "Ctrl-C")
    text = write_reports(run).read_text(encoding="utf-8")
    assert "Finished: 12 of 12 steps" in text  # it was resumed
    for written in (text, (run / "report.md").read_text()):
        assert "None: no warning and no skipped step." in written
        assert "Stopped after step 5: Ctrl-C." in written
    assert 'class="warning"' not in text


def test_a_reader_sees_what_was_asked_and_by_whom(tmp_path):
    run = make_run(tmp_path / "run", evaluation=BOTH, problems=2, text="7")
    text = page_of(run)
    assert (
        text.count("Each prompt begins with the system message: Be brief. 7<") == 2
    )  # of the problems, of the rollouts
    assert text.count('<p class="question">One\n\n7</p>') == 4  # a paragraph is not cut off
    assert "system: " not in text
    other = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "7?"},
    ]
    rows = [
        {"phase": "before", "index": 2, "prompt": other, "answer": "", "completion": "", "correct": True, "rewards": {}}
    ]
    run_folder.append_jsonl(run / run_folder.EVAL_SAMPLES, rows)
    text = page_of(run)
    assert text.count("Each prompt begins with the system message") == 1  # of the rollouts
    assert text.count('turn">system: Be brief. 7</p>') == 2
    assert '<p class="side soft turn">assistant: Yes?</p>\n<p class="question">7?</p>' in text
    assert "user: Hi assistant: Yes? 7? (answer" in markdown_of(run)


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [
        ([["system: a", "user: b"], ["system: a", "user: c"]], "a"),
        ([["system: a", "user: b"], ["system: b", "user: b"]], None),
        ([["user: a"], ["user: a"]], None),
        (["a", "a"], None),
        ([], None),
    ],
)
def test_a_system_message_is_shared_if_every_prompt_begins_with_it(prompts, shared):
    chats = [
        one if isinstance(one, str) else [dict(zip(("role", "content"), turn.split(": "), strict=True)) for turn in one]
        for one in prompts
    ]
    assert texts.shared_system([{"prompt": chat} for chat in chats]) == shared


def markdown_of(folder):
    write_reports(folder)
    return (folder / "report.md").read_text(encoding="utf-8")


def test_a_recipe_without_a_form_has_no_row_for_it(tmp_path):
    formless = {phase: {**figures, "format_rate": None} for phase, figures in BOTH.items()}
    text = page_of(make_run(tmp_path / "run", evaluation=formless))
    assert "gain in correctness" in text
    assert "format" not in text.split("<h2>Curves")[0].split("<body>")[1].replace("Correctness and format", "")
    assert "Correct format" in page_of(make_run(tmp_path / "other", evaluation=BOTH))


def test_metrics_without_figures_draw_nothing_and_do_not_crash(tmp_path):
    run = make_run(tmp_path / "run", steps=0)
    run_folder.append_jsonl(
        run / run_folder.METRICS, [{"step": 1, "reward": None}, {"step": 2, "reward": float("nan")}]
    )
    assert "Nothing was logged that could be drawn" in page_of(run)


def test_plots_are_pictures_and_old_ones_go(tmp_path):
    run = make_run(tmp_path / "run", evaluation=BOTH)
    (run / "plots").mkdir()
    (run / "plots" / "old.png").write_text("")
    write_reports(run)
    assert {path.name for path in (run / "plots").iterdir()} == {"learning.png", "policy.png"}
    for path in (run / "plots").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert f"](plots/{path.name})" in (run / "report.md").read_text()
        assert f"](plots/{path.name})" in (run / "README.md").read_text()


def test_runs_are_compared(tmp_path):
    other = RECIPE.replace("gspo,", "grpo,")
    runs = [
        make_run(tmp_path / "first", evaluation=BOTH, problems=4),
        make_run(tmp_path / "second", evaluation={"before": FIGURES, "after": FIGURES}, recipe=other, problems=4),
        make_run(tmp_path / "third", steps=1),
    ]
    text = write_comparison(runs, tmp_path / "both.html").read_text()
    assert "Highest after training: first, 90.0% (87% to 93%), better than second." in text
    assert "<td>gspo</td><td>grpo</td><td>gspo</td>" in text
    assert 'scope="col" class="number">second</th>' in text
    assert text.count('class="line s1" stroke-dasharray') > 5  # the second run's lines, recognizable without color
    drawn = curves.charts([read_run(run) for run in runs])
    assert [one.label for one in drawn[1].series] == ["first", "second"]
    with pytest.raises(UsageError, match="at most 6"):
        write_comparison(runs * 3, tmp_path / "both.html")


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.37), (-3, 12), (990, 1010), (0, 6000), (1e-6, 3e-6)])
def test_ticks_are_few_round_and_inside(low, high):
    found = svg.ticks(low, high)
    assert 2 <= len(found) <= 6
    assert low <= found[0] < found[-1] <= high


def test_the_model_card_has_front_matter_and_figures(tmp_path):
    run = make_run(tmp_path / "run", evaluation=BOTH)
    write_reports(run)
    card = (run / "README.md").read_text()
    assert card.startswith("---\nbase_model: org/base\nlanguage:\n- en\nlibrary_name: peft\n")
    assert "\n- name: run\n  results:\n" in card.split("---\n")[1]
    assert "trained for 12 steps on `arithmetic`\nby [GSPO](https://arxiv.org/abs/2507.18071)" in card
    assert "| Greedy accuracy | 50.0% (45% to 55%) | 90.0% (87% to 93%) |" in card
    assert 'AutoPeftModelForCausalLM.from_pretrained("adapter")' in card
    assert "on `org/base`, trained for" in card


def test_the_model_card_says_which_adapter_was_continued(tmp_path):
    recipe = RECIPE.replace("name: org/base,", "name: org/base, adapter: runs/sft,")
    run = make_run(tmp_path / "run", evaluation=BOTH, recipe=recipe)
    write_reports(run)
    assert "on `org/base`, continued from `runs/sft`, trained for" in (run / "README.md").read_text()


@pytest.mark.parametrize(
    ("algorithm", "name", "paper", "author"),
    [("gspo_token", "GSPO-token", "2507.18071", "Chujie Zheng"), ("grpo", "GRPO", "2402.03300", "Zhihong Shao")],
)
def test_the_model_card_names_the_method_of_the_run(tmp_path, algorithm, name, paper, author):
    run = make_run(tmp_path / "run", recipe=RECIPE.replace("algorithm: gspo,", f"algorithm: {algorithm},"))
    facts = read_run(run)
    card = render("card.md.j2", **about([facts]), **for_programs(facts), plots=[])
    assert f"by [{name}](https://arxiv.org/abs/{paper})" in card
    assert f"\n- {name.lower()}\n" in card
    assert author in card.split("```bibtex")[1]


def test_json_of_the_run_is_what_the_report_reads(tmp_path):
    run = make_run(tmp_path / "run", evaluation={"before": FIGURES})
    assert json.loads((run / run_folder.EVAL).read_text())["before"]["n"] == 400


def test_held_out_figures_while_training_are_a_curve_and_the_kept_step_is_said(tmp_path):
    run = make_run(tmp_path / "run", evaluation={**BOTH, "after": {"step": 8, **BETTER}}, steps=0)
    found = {4: 0.5, 8: 0.75, 12: 0.5}
    rows = [
        {**step_row(n), **({"eval_accuracy": found[n], "eval_accuracy_low": found[n] - 0.25,
                            "eval_accuracy_high": found[n] + 0.125, "eval_n": 100} if n in found else {})}
        for n in range(1, 13)
    ]  # fmt: skip
    run_folder.append_jsonl(run / run_folder.METRICS, rows)
    run_folder.note_event(run, 12, "stopped early", "9 evaluations without a new best")
    facts = read_run(run)
    before_and_after, chart = curves.charts([facts])[:2]
    assert [point[0] for point in before_and_after.series[0].points] == [0.0, 8.0]
    assert chart.title == "Held-out accuracy while training"
    assert chart.series[0].points == [(4, 0.5), (8, 0.75), (12, 0.5)]
    assert chart.bands[0].points == [(4, 0.25, 0.625), (8, 0.5, 0.875), (12, 0.25, 0.625)]
    assert facts.state == (
        "Finished: 12 of 12 steps. Stopped early: 9 evaluations without a new best. The adapter is that of step 8, the "
        "best of 3 evaluations in training: 75.0% (50% to 88%) of 100 held-out problems."
    )
    assert [one.bands for one in curves.charts([facts, facts]) if one.title == chart.title] == [[]]
