import json
import re
import signal
import subprocess
import sys
from functools import partial

import pytest

from gspo_lite.cli.shared import printable
from gspo_lite.recipe.shipped import shipped_recipes


def command(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "gspo_lite", *words], capture_output=True, text=True, timeout=120, **options
    )


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["rewards", "--help"]])
def test_help_names_the_commands(words):
    done = command(*words)
    assert "Usage" in done.stdout


def test_recipes_lists_every_recipe_with_what_it_does():
    lines = command("recipes").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_recipes())


def test_check_says_what_would_run():
    done = command("check", "quickstart")
    assert done.returncode == 0
    assert "ok. gspo on starter, 160 steps; 256 completions a rollout, 4 optimizer steps on each" in done.stdout
    assert (
        "256 completions of 512 a rollout"
        in command("check", "quickstart", "--set", "generation.sample_factor=2").stdout
    )


def test_schema_is_json_with_every_part_of_a_recipe():
    schema = json.loads(command("schema").stdout)
    parts = {
        "model",
        "data",
        "tools",
        "environment",
        "rewards",
        "warmup",
        "objective",
        "generation",
        "training",
        "output",
    }
    assert set(schema["properties"]) == parts


def test_schema_offers_the_names_of_adapters_and_rewards_and_takes_code():
    parts = json.loads(command("schema").stdout)["$defs"]
    for part, key, known in (("DataSettings", "adapter", "gsm8k"), ("RewardSettings", "name", "math_correct")):
        *names, code = parts[part]["properties"][key]["anyOf"]
        assert known in [one["const"] for one in names]
        assert all(one["description"].endswith((".", ":")) for one in names)
        assert code == {"pattern": ":"}


def test_rewards_are_listed_and_shown():
    assert "math_correct" in command("rewards", "list").stdout
    shown = command("rewards", "show", "soft_overlong").stdout
    assert "equation 13" in shown
    assert "max_length: required" in shown


def test_show_has_ranges_choices_and_a_line_for_a_recipe():
    shown = command("rewards", "show", "soft_overlong").stdout
    assert "max_length: required, integer, at least 1" in shown
    assert "- {name: soft_overlong, weight: 1.0, options: {max_length: ..., cache: ...}}" in shown
    assert (
        "marker: 'tag', one of tag | boxed | gsm8k | last_number | text | fence or a mapping"
        in command("rewards", "show", "math_correct").stdout
    )


def test_rewards_test_lays_made_up_completions_before_a_recipes_rewards():
    done = command("rewards", "test", "quickstart", "--problems", "1")
    assert done.returncode == 0, done.stderr
    assert "problem: What is 47 + 23?   gold: 70" in done.stdout
    assert "  math_correct  think_format  total" in done.stdout
    records = json.loads(command("rewards", "test", "quickstart", "--problems", "1", "--json").stdout)
    assert {record["kind"]: record["total"] for record in records} == {
        "right, in form": 1.0,
        "right, no form": 0.0,
        "right, no thoughts": 1.0,
        "wrong, in form": 0.0,
        "right, then replaced": 0.0,
        "cut off": 0.0,
        "empty": 0.0,
    }
    assert records[0]["rewards"] == {"math_correct": 1.0, "think_format": 1.0}
    assert (records[0]["extracted"], records[0]["gold"]) == ("70", "70")


def test_rewards_test_reads_completions_of_a_file(tmp_path):
    """With the answer beside them as in a run's completions.jsonl, or with a prompt of the recipe's data."""
    asked = [{"prompt": "What is 1 + 1?", "answer": "2", "completion": f"<answer>{n}\x1b[2J</answer>"} for n in (2, 3)]
    asked[0]["completion"] = [{"role": "assistant", "content": "<think>x</think><answer>2</answer>"}]
    path = tmp_path / "completions.jsonl"
    path.write_text("\n".join(json.dumps({"step": 1, "rewards": {}, **row}) for row in asked))
    done = command("rewards", "test", "quickstart", "--completions", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("problem: ") == 1  # one group
    assert "\x1b" not in done.stdout
    records = json.loads(command("rewards", "test", "quickstart", "--completions", str(path), "--json").stdout)
    assert [(record["kind"], record["total"]) for record in records] == [("row 1", 1.0), ("row 2", 0.0)]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"completion": "x"}', "row 1 has no `answer`, which a reward reads"),
        ('{"answer": "2"}', "row 1: there is no `completion`"),
        ("{", "row 1: not JSON"),
    ],
)
def test_a_file_of_completions_that_cannot_be_used_is_refused(tmp_path, line, says):
    path = tmp_path / "completions.jsonl"
    path.write_text(line)
    done = command("rewards", "test", "quickstart", "--completions", str(path))
    assert done.returncode == 2
    assert says in done.stderr


def test_rewards_stress_finds_nothing_in_quickstart_and_says_so_with_its_exit_code(tmp_path):
    done = command("rewards", "stress", "quickstart", "--problems", "20")
    assert done.returncode == 0, done.stdout
    assert "no finding on 20 problems" in done.stdout
    assert "note: the question's own sum" in done.stdout
    (tmp_path / "mine.py").write_text("def length(completions, **_):\n    return [len(str(c)) for c in completions]\n")
    rewards = f"rewards=[{{name: '{tmp_path}/mine.py:length'}}]"
    done = command("rewards", "stress", "quickstart", "--problems", "2", "--set", rewards, "--allow-outside")
    assert done.returncode == 4
    assert "FINDING: longest: scores" in done.stdout
    assert "rewarded by `length` (2 of 2 problems)" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["check", "no_such_recipe"], 2, "there is no recipe `no_such_recipe`"),
        (["run", "quickstart", "--set", "objective.epsilon=0.2"], 2, "GRPO's size"),
        (["run", "quickstart", "--no-such-option"], 2, "No such option"),
        (["rewards", "show", "math_corect"], 2, "did you mean `math_correct`"),
        (["report", "."], 2, "is not a run folder"),
        (["eval", "no_such_model"], 2, "add --recipe"),
        (["eval", "./nowhere", "--recipe", "quickstart"], 2, "there is no folder `./nowhere`"),
        (["run", "quickstart", "--set", "data.source=nowhere.jsonl"], 2, "there is no file `nowhere.jsonl`"),
        (["run", "quickstart", "--set", "generation.engine=vllm"], 3, "vllm` cannot run here"),
        (["run", "quickstart", "--set", "model.name=no_such/model"], 3, "is not on this machine"),
        (["run", "quickstart", "--set", "data.source=no_such/data"], 3, "is not on this machine"),
    ],
)
def test_what_is_wrong_is_one_message_and_an_exit_code(tmp_path, words, code, says):
    done = command(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_closed_pipe_is_no_error():
    shell = f"{sys.executable} -m gspo_lite schema | head -1"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "{\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("sent", "code"), [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), (signal.SIGINT, 130)]
)
def test_a_signal_ends_a_run_with_its_own_exit_code(tmp_path, starter, sent, code):
    words = [sys.executable, "-m", "gspo_lite", "run", "quickstart"]
    ready = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a test run in the background ignores it
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=ready)
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith("  training"):
            process.send_signal(sent)
            break
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == code, "".join(seen) + rest
    assert "Traceback" not in rest
    assert re.search(r"checkpoint-\d+` holds step \d+; continue from it with --resume", rest)
    assert "warning" not in rest
    assert "report.html shows the run so far" in rest
    said = "Ctrl-C" if sent == signal.SIGINT else "Terminated SIGTERM"
    report = (tmp_path / "runs" / "quickstart" / "report.html").read_text()
    assert re.search(rf"Stopped after \d+ of 160 steps: {said}", report)


def test_terminal_escapes_are_not_passed_on():
    assert printable("a\x1b[2Jb\nc") == "a?[2Jb\nc"
