import json
import signal
import subprocess
import sys
from functools import partial

import pytest

from gspo_lite.cli import printable
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


def test_schema_is_json_with_every_part_of_a_recipe():
    schema = json.loads(command("schema").stdout)
    assert set(schema["properties"]) == {"model", "data", "rewards", "objective", "generation", "training", "output"}


def test_rewards_are_listed_and_shown():
    assert "math_correct" in command("rewards", "list").stdout
    shown = command("rewards", "show", "soft_overlong").stdout
    assert "equation 13" in shown
    assert "max_length: needed" in shown


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["check", "no_such_recipe"], 2, "there is no recipe `no_such_recipe`"),
        (["run", "quickstart", "--set", "objective.epsilon=0.2"], 2, "GRPO's size"),
        (["run", "quickstart", "--no-such-option"], 2, "No such option"),
        (["rewards", "show", "math_corect"], 2, "did you mean `math_correct`"),
        (["report", "."], 2, "is no run folder"),
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


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_with_its_own_exit_code(tmp_path, starter, sent, code):
    words = [sys.executable, "-m", "gspo_lite", "run", "quickstart"]
    ready = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a test run in the background ignores it
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=ready)
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith("  step"):
            process.send_signal(sent)
            break
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == code, "".join(seen) + rest
    assert "Traceback" not in rest


def test_terminal_escapes_are_not_passed_on():
    assert printable("a\x1b[2Jb\nc") == "a?[2Jb\nc"
