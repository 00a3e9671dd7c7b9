"""README alone, in an empty folder: every block is run, or checked where it is a part of a file."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gspo_lite.recipe.load import load_checked
from tests.readme.blocks import Block, blocks_of, commands_of
from tests.readme.stand_ins import ACTIVATED, BEFORE, CODES, FILES, INSTEAD, ON_UNSLOTH, as_run, is_light, script

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS, COMMANDS = blocks_of(PAGE), commands_of(PAGE)
OTHER_BLOCKS = ("recipe.yaml", "$ uv run")  # the files of a run folder, and what a run prints
OWN_RUNS = [command for _, command in COMMANDS].index(ACTIVATED)  # before it, README is about environments
TESTED_ELSEWHERE = ("GSPOTrainer(", "class OwnLoss")  # in tests/training, where they train


def run(text, folder, **environment):
    """Run a script in bash, and fail with its last lines if it does not reach its end."""
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.stdout.rstrip().endswith(">>> the end"), done.stdout[-4000:]
    return done.stdout


def test_blocks_and_commands_are_told_apart():
    page = (
        "Text\n\n    pip install x   # why\n                    # more\n    gspo-lite run a.yaml \\\n        --resume\n"
    )
    page += "\n    one.json   a file\n\n```yaml\na: 1\n```\n"
    assert blocks_of(page)[1:] == [Block(8, "indented", ("one.json   a file",)), Block(11, "yaml", ("a: 1",))]
    assert commands_of(page) == [(3, "pip install x"), (6, "gspo-lite run a.yaml --resume")]


def test_every_block_is_a_command_a_file_or_known():
    strange = [
        f"README.md:{block.line}: {block.lines[0]}" for block in BLOCKS
        if not block.holds_commands and block.language not in ("yaml", "python")
        and not block.lines[0].startswith(OTHER_BLOCKS)
    ]  # fmt: skip
    assert not strange
    assert len(COMMANDS) > 20


def test_what_stands_in_for_a_command_is_for_one_that_is_there():
    assert {*BEFORE, *INSTEAD, *CODES} <= {command for _, command in COMMANDS}


def test_light_commands_do_what_readme_says(tmp_path):
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    prologue = f"gspo-lite() {{ {sys.executable} -m gspo_lite \"$@\"; }}"  # fmt: skip
    said = run(script([one for one in COMMANDS if is_light(one[1])], prologue), tmp_path, PYTHONPATH=str(ROOT))
    assert said.count(" s, README.md:") >= 7
    assert json.loads((tmp_path / "recipe.schema.json").read_text())["title"] == "Recipe"
    assert re.search(r"(\d+) rewards: correctness", PAGE)[1] == str(len(rewards_in(said)))


def rewards_in(said):
    told = said.split("gspo-lite rewards list\n")[1].split("\n\n>>>")[0]
    return told.strip().splitlines()


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "yaml"], ids=lambda block: f"line-{block.line}"
)
def test_settings_are_those_of_a_recipe(block):
    settings = YAML(typ="safe", pure=True).load(block.text)
    load_checked("quickstart", [f"{key}={json.dumps(value)}" for key, value in settings.items()], ())


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "python"], ids=lambda block: f"line-{block.line}"
)
def test_python_is_run(block):
    if any(known in block.text for known in TESTED_ELSEWHERE):
        compile(block.text, "README.md", "exec")
        return
    names = {}
    exec(compile(block.text, "README.md", "exec"), names)
    assert names["short"](["a", "b"], [[1] * 200, [1] * 201], answer=["", ""]) == [1.0, 0.0]


def test_links_lead_to_files():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "recipes" / "README.md"):
        links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
        assert not [link for link in links if not (page.parent / link).exists()], page


def test_the_comparison_names_the_versions_that_are_tested():
    versions = json.loads((ROOT / "gspo_lite" / "tested_versions.json").read_text())
    newest = versions["newest"]["trl"].rpartition(".")[0]
    oldest = versions["oldest"]["trl"].rpartition(".")[0]
    assert f"(https://github.com/huggingface/trl) {newest} ({oldest} to {newest} work here)" in PAGE
    assert f"(https://github.com/unslothai/unsloth) {versions['usual']['unsloth']} and" in PAGE


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_clone_becomes_an_environment_by_each_way_and_trains(tmp_path):
    """Under three minutes: two environments from the package index or uv's cache, and the whole quickstart."""
    clone, plain = tmp_path / "clone", tmp_path / "python"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(plain)], check=True)
    for name, text in FILES.items():
        (clone / name).write_text(text)
    path = f"{plain / 'bin'}{os.pathsep}{os.environ['PATH']}"
    commands = [*COMMANDS[:OWN_RUNS], *(one for one in COMMANDS[OWN_RUNS:] if not can_be_forked(one[1]))]
    said = run(script(commands, "unset VIRTUAL_ENV PYTHONPATH UV_PROJECT_ENVIRONMENT"), clone, PATH=path)
    assert not [line for line in of_the_quickstart() if without_figures(line) not in without_figures(said)]
    assert {path.name for path in (clone / "runs" / "quickstart").iterdir()} == files_of_a_run()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_other_command_runs(tmp_path, starter):
    """A minute, in this environment: the test above shows that commands work in those that README makes."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    commands = [one for one in COMMANDS[OWN_RUNS:] if can_be_forked(one[1])]
    done = subprocess.run(
        [sys.executable, "-m", "tests.readme.forked"], cwd=tmp_path, input=json.dumps([*as_run(commands)]),
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.stdout.rstrip().endswith(">>> the end"), done.stdout[-4000:]


def can_be_forked(command):
    """Whether it is worth it; Unsloth has to be imported before TRL, which is there already in a forked process."""
    return not is_light(command) and command != ON_UNSLOTH


def of_the_quickstart():
    """What README says that the quickstart prints, without the machine and lines that come and go."""
    (block,) = (block for block in BLOCKS if block.lines[0].startswith("$ uv run"))
    return [line for line in block.lines[1:] if not line.startswith(("building", "machine", "  training", "  ..."))]


def without_figures(text):
    return re.sub(r"\d+([.,]\d+)?", "0", text)


def files_of_a_run():
    (block,) = (block for block in BLOCKS if block.lines[0].startswith("recipe.yaml"))
    return {name.rstrip("/") for line in block.lines for name in line.partition("  ")[0].split(", ")}
