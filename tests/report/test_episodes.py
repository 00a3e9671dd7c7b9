"""Episodes with tools in the report: turns, calls, results, advantages, and texts that nobody should trust."""

import html
import re

from gspo_lite.report import curves, write_reports
from gspo_lite.report.episodes import episode, names_of_tools
from gspo_lite.report.facts import read_run
from gspo_lite.system import run_folder
from tests.report.test_report import BOTH, HOSTILE, RECIPE, make_run, page_of

TOOLS = "tools: [tools.py:look_up, {name: 'more.py:calculate', timeout: 5}]\nenvironment: {word: games.py:Wordle}\n"


def own(text, *calls, advantage=None, **rewards):
    made = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return {"role": "assistant", "content": text, "calls": made, "advantage": advantage, "rewards": rewards}


def result(name, text, end="done"):
    return {"role": "tool", "name": name, "content": text, "end": end}


EPISODE = [
    own("I look.", ("look_up", {"name": "Ada", "year": 1815}), advantage=0.8, solved=1.0, polite=None),
    result("look_up", "a mathematician"),
    own("", ("calculate", {"expression": "9**9**9"}), advantage=-0.4),
    result("calculate", "too large", "error"),
    own("1852", advantage=0.0),
]


def make_episodes(folder, turns=EPISODE, metrics=(), problems=1, rollouts=1):
    run = make_run(folder, evaluation=BOTH, steps=0, recipe=RECIPE + TOOLS)
    row = {"prompt": "When?", "answer": "1852", "completion": "I look.1852", "rewards": {"right": 1.0}, "turns": turns}
    for phase in ("before", "after"):
        about = [{"phase": phase, "index": 9 + n, "correct": True, **row} for n in range(problems)]
        run_folder.append_jsonl(run / run_folder.EVAL_SAMPLES, about)
    run_folder.append_jsonl(run / run_folder.COMPLETIONS, [{"step": 1, "advantage": 0.5, **row}] * rollouts)
    run_folder.append_jsonl(run / run_folder.METRICS, metrics)
    return run


def test_an_episode_is_read_turn_by_turn():
    told = [(one["title"], one.get("about"), one["text"], one.get("calls"), one.get("shade")) for one in episode(
        {"turns": EPISODE})]  # fmt: skip
    assert told == [
        ("turn 1", "advantage +0.80; solved 1.00", "I look.", ["look_up(name='Ada', year=1815)"], "p3"),
        ("from look_up", None, "a mathematician", None, None),
        ("turn 2", "advantage -0.40", "", ["calculate(expression='9**9**9')"], "n2"),  # half of the largest
        ("from calculate", None, "too large", None, None),
        ("turn 3", "advantage +0.00", "1852", [], ""),
    ]
    assert [one["failed"] for one in episode({"turns": EPISODE}) if not one["own"]] == ["", "failed"]
    assert episode({"completion": "no tools"}) == []


def test_a_page_shows_episodes_before_after_and_in_training(tmp_path):
    text = page_of(make_episodes(tmp_path / "run"))
    assert text.count('<ol class="episode">') == 3
    assert text.count('<pre class="p3">I look.</pre>\n<p class="call p3">look_up(name=&#39;Ada&#39;') == 3
    assert text.count('from calculate</span> <span class="wrong">failed</span>') == 3
    assert "with look_up, calculate, Wordle." in text
    assert "<pre>I look.1852</pre>" not in text  # the same again


def test_the_table_has_turns_and_calls_and_says_what_accuracy_is(tmp_path):
    run = make_episodes(tmp_path / "run")
    figures = {"mean_turns": 2.5, "calls_per_episode": 1.5, "accuracy_is": "the share that is <paid>"}
    evaluation = run_folder.read_json(run / run_folder.EVAL)
    run_folder.write_json(run / run_folder.EVAL, {**evaluation, "after": {**evaluation["after"], **figures}})
    text = page_of(run)
    turns = '<th scope="row">Turns of the model, mean</th><td class="number">-</td><td class="number">2.5</td>'
    assert turns in text
    assert turns.replace("Turns of the model", "Calls of tools").replace("2.5", "1.5") in text
    assert "Accuracy is the share that is &lt;paid&gt;." in text


def test_card_and_markdown_name_the_tools_and_show_the_calls(tmp_path):
    run = make_episodes(tmp_path / "run")
    write_reports(run)
    markdown = (run / "report.md").read_text(encoding="utf-8")
    assert "    -> look_up(name='Ada', year=1815)\n    <- look_up: a mathematician\n" in markdown
    assert "    <- calculate (failed): too large\n    1852\n" in markdown
    assert "trained to call tools (`look_up`, `calculate`, `Wordle`)" in (run / "README.md").read_text()


def test_hostile_results_and_arguments_are_escaped_cut_and_leave_room_for_others(tmp_path):
    call = ("look_up", {HOSTILE[:40]: HOSTILE})
    turns = [own(HOSTILE, *[call] * 40), result(HOSTILE[:30], "\x1b[2J" + HOSTILE + "x" * 1_000_000, "cut")] * 30
    run = make_episodes(tmp_path / "run", turns)
    text = page_of(run)
    assert len(text.encode()) < 2_000_000
    assert text.count("<script") == 1
    assert "\x1b" not in text
    shown = episode({"turns": turns})
    assert [one.get("left_out") for one in shown].count(44) == 1  # of 60 messages
    assert text.count('<ol class="episode">') == 3
    assert shown[0]["calls"][-1] == "and 32 more calls"
    results = re.findall(
        r"from .*?</span> <span class=\"wrong\">result cut off</span></p>\n<pre>(.*?)</pre>", text, re.S
    )
    assert len(results) == 3 * 8
    assert all(len(html.unescape(one)) < 600 for one in results)
    write_reports(run)
    assert "\x1b" not in (run / "report.md").read_text(encoding="utf-8")


def test_a_page_of_many_long_episodes_stays_under_two_megabytes(tmp_path):
    turns = [own(HOSTILE, ("look_up", {"name": HOSTILE})), result("look_up", HOSTILE)] * 8
    text = page_of(make_episodes(tmp_path / "run", turns, problems=40, rollouts=60))
    assert text.count('<ol class="episode">') > 4
    assert len(text.encode()) < 2_000_000


def test_calls_turns_and_tokens_are_curves(tmp_path):
    def figures(n):
        tools = {"calls_per_episode": 1.5, "error": 0.1 * n, "late": 0.0, "refused": 0.0, "cut": 0.0}
        tokens = {"turns/mean": 2.0, "tokens/own": 40.0, "tokens/foreign": 9.0}
        return {"step": n, **{f"tools/{name}": value for name, value in tools.items()}, **tokens}

    facts = read_run(make_episodes(tmp_path / "run", metrics=[figures(n) for n in (1, 2)]))
    drawn = {chart.title: [(one.label, one.points) for one in chart.series] for chart in curves.charts([facts])[1:]}
    assert drawn == {
        "Turns of the model in an episode": [("run", [(1, 2.0), (2, 2.0)])],
        "Calls of tools in an episode": [("run", [(1, 1.5), (2, 1.5)])],
        "Calls of tools that went wrong": [("failed", [(1, 0.1), (2, 0.2)])],
        "Tokens in an episode": [
            ("written by the model", [(1, 40.0), (2, 40.0)]), ("results of tools", [(1, 9.0), (2, 9.0)]),
        ],
    }  # fmt: skip
    both = [chart.title for chart in curves.charts([facts, facts])]
    assert both[1:] == ["Turns of the model in an episode", "Calls of tools in an episode"]


def test_tools_are_named_without_their_files():
    assert names_of_tools({"tools": ["a.py:f", {"name": "pkg.mod:g"}], "environment": "b.py:Game"}) == [
        "f",
        "g",
        "Game",
    ]
    assert names_of_tools({}) == []
    assert names_of_tools({"tools": [], "environment": None}) == []
