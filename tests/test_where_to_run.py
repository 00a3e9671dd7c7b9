"""docs/where_to_run.md: its commands, and the first cell of every notebook, as far as they can be tried here."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "where_to_run.md").read_text()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def command(beginning):
    """The command of the page that begins so, in words."""
    (found,) = re.findall(rf"^    ({beginning} (?:.*\\\n)*.*)$", PAGE, re.MULTILINE)
    return shlex.split(found.replace("\\\n", ""))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("place", "installs"), [("COLAB_RELEASE_TAG", True), ("KAGGLE_KERNEL_RUN_TYPE", True), ("ELSEWHERE", False)]
)
def test_the_first_cell_installs_the_package_where_that_is_needed(notebook, place, installs, monkeypatch):
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(place, "set")
    (cell, *_) = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    asked = []
    kernel = type("Kernel", (), {"run_line_magic": staticmethod(lambda name, line: asked.append((name, line)))})
    exec(TransformerManager().transform_cell(cell.source), {"get_ipython": lambda: kernel})
    assert len(asked) == installs
    for magic, line in asked:
        package = shlex.split(line)[-1]
        assert magic == "pip"
        assert package.endswith("git+https://github.com/gspo-lite/gspo-lite")
        assert ("unsloth" in package) is (notebook.stem == "05_gsm8k_on_colab")  # the one for a GPU


def test_the_job_is_one_that_hugging_face_knows():
    words = command("hf jobs run")
    knows = hf("--help")
    assert re.search(rf"\b{words[words.index('--flavor') + 1]}\b", knows)
    shown = hf("--dry-run", *words[3:])
    assert f"command  {shlex.join(words[words.index('uvx') :])}" in re.sub("  +", "  ", shown)
    assert "hf://buckets/USER/runs:/runs" in shown


def hf(*words):
    """What `hf jobs run` prints, without a network and an account."""
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_TOKEN": "hf_none", "COLUMNS": "300"}
    command = [Path(sys.executable).with_name("hf"), "jobs", "run", *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **quiet})
    assert done.returncode == 0, done.stderr
    return done.stdout


def from_this_clone(words, folder):
    """What a command with uvx prints, on the commit that is checked out; packages come from the index or uv's cache."""
    if shutil.which("uvx") is None:
        pytest.skip("no uvx here")
    words = [word.replace("https://github.com/gspo-lite/gspo-lite", f"file://{ROOT}") for word in words]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # nothing of the clone
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_one_line_runs_from_a_git_address(tmp_path, starter):
    short = ["--max-steps", "2", "--set", "data.eval.limit=16", "--set", "training.per_device_train_batch_size=8"]
    from_this_clone([*command("uvx --from git"), *short], tmp_path)
    assert (tmp_path / "runs" / "quickstart" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_line_for_a_gpu_brings_unsloth(tmp_path):
    words = command('uvx --from "gspo-lite')
    told = from_this_clone([*words[: words.index("run")], "doctor", "--quick"], tmp_path)
    assert re.search(r"^ok +stack +with Unsloth", told, re.MULTILINE)
