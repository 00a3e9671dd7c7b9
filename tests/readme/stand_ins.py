"""What README's commands find when a test runs them, and what stands in for those that this machine cannot run.

A command that is in none of these tables is run as it stands in README, and must end with exit code 0.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

SMALL = "--max-steps 2 --set data.eval.limit=8"
OWN = "--set model.name=starter --set model.backend=transformers --set data.source=mine.jsonl --set data.eval.limit=8"
UVX = "uvx --from git+https://github.com/gspo-lite/gspo-lite gspo-lite run quickstart"
GSM8K = "gspo-lite run recipes/gsm8k_gspo.yaml"
ON_UNSLOTH = f"{GSM8K} --set model.name=starter --set data.source=mine.jsonl --max-steps 4"
ACTIVATED = "gspo-lite recipes"  # the first command after README says to activate the environment
# Files that README takes to be the reader's own.
FILES = {
    "mine.jsonl": "".join(
        json.dumps({"question": f"What is {a} + {b}?", "answer": f"They add up.\n#### {a + b}"}) + "\n"
        for a in range(10, 22)
        for b in range(10, 20)
    ),
    "theirs.yaml": "model_name_or_path: starter\nnum_generations: 8\nmax_completion_length: 48\nlearning_rate: 1e-4\n"
    "reward_funcs: [accuracy_reward]\n",
}
# What README says in words to do before, and runs and recipes that it takes to be there.
BEFORE = {
    "gspo-lite run quickstart": ["rm -r runs/quickstart"],  # a run folder is not written over unasked
    ACTIVATED: ["[ ! -d .venv ] || source .venv/bin/activate"],
    "gspo-lite report runs/one runs/two": [
        f"gspo-lite run quickstart --output runs/one {SMALL}",
        f"gspo-lite run quickstart --output runs/two {SMALL} --set training.seed=43",
    ],
    "gspo-lite chat runs/quickstart": [f"gspo-lite run quickstart {SMALL}"],
    "gspo-lite rewards test my.yaml": ["gspo-lite recipes --init quickstart my.yaml"],
    "gspo-lite rewards test my.yaml --completions runs/my/completions.jsonl": [f"gspo-lite run my.yaml {SMALL}"],
}
INSTEAD = {
    # This test is one of the suite.
    "uv run pytest": "uv run pytest tests/system/test_clock.py",
    # tests/test_where_to_run.py runs this line of that page.
    UVX: f"grep -F '{UVX}' docs/where_to_run.md",
    # tests/real trains it, in the environment that this makes.
    "uv run --group real gspo-lite run smollm2_json": "uv run --group real gspo-lite check smollm2_json",
    # Where its cache is cold, pip fetches gigabytes that uv has by now. The versions are those that README names.
    "pip install '.[unsloth]'": (
        "uv pip install --quiet --python \"$(command -v python)\" '.[unsloth]' && pip install --quiet --no-deps . "
        "&& ! gspo-lite doctor --quick | grep -E '^warn +(torch|trl|transformers|datasets|peft) '"
    ),
    # The whole of it ran above.
    "gspo-lite run quickstart": f"gspo-lite run quickstart {SMALL}",
    # They need a GPU and the hub.
    GSM8K: f"{GSM8K} {OWN} --set training.save_steps=1 --max-steps 2",
    f"{GSM8K} --resume": f"{GSM8K} {OWN} --set training.save_steps=1 --max-steps 3 --resume",
    "gspo-lite probe recipes/gsm8k_gspo.yaml": f"gspo-lite probe recipes/gsm8k_gspo.yaml {OWN}",
    # What was translated still has decisions to make.
    "gspo-lite run mine.yaml --set model.adapter=runs/sft": (
        f"gspo-lite run quickstart --output runs/continued --set model.adapter=runs/one {SMALL}"
    ),
    # The runs that are here are of a model that no hub has.
    "gspo-lite push runs/mine --to me/my-adapter --dry-run": (
        "gspo-lite push runs/quickstart --to me/my-adapter --base me/starter --dry-run"
    ),
    # Nobody is there to type.
    "gspo-lite chat runs/quickstart": "gspo-lite chat runs/quickstart --prompt 'What is 12 + 30?'",
}
# Exit codes other than 0 that are an answer: 3, this machine lacks something.
CODES = {
    "gspo-lite doctor recipes/gsm8k_gspo.yaml": "0 3",
    "gspo-lite plan recipes/gsm8k_gspo.yaml --vram 16": "0 3",
}
LIGHT = ("recipes", "check", "plan", "rewards list", "rewards show", "schema")  # a second or two, without torch


def is_light(command: str) -> bool:
    """Return whether a command is quick enough for every suite."""
    return command.startswith(tuple(f"gspo-lite {name}" for name in LIGHT))


def as_run(commands: list[tuple[int, str]]) -> Iterator[tuple[int, str, str]]:
    """Yield what is run for commands of README: line, command, and the exit codes that are an answer."""
    for number, command in commands:
        yield from ((number, one, "0") for one in BEFORE.get(command, ()))
        yield number, INSTEAD.get(command, command), CODES.get(command, "0")


def script(commands: list[tuple[int, str]], prologue: str) -> str:
    """Return a bash script that runs commands of README one after the other and ends at the first surprise."""
    lines = [
        "set -u",
        prologue,
        'step() { echo; echo ">>> $SECONDS s, README.md:$1  $2"; }',
        'ended() { case " $2 " in *" $1 "*) ;; *) echo "!!! exit code $1"; exit 1;; esac; }',
    ]
    for number, command, codes in as_run(commands):
        lines += [f"step {number} {shlex.quote(command)}", f'{command} </dev/null; ended $? "{codes}"']
    return "\n".join([*lines, "echo", "echo '>>> the end'"]) + "\n"
