"""Every notebook runs from top to bottom in a fresh kernel, shortened by the cell that says what to override."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
SHORTER = """overrides = ["output.if_exists=overwrite", "training.max_steps=8", "data.eval.limit=64"]"""
RUNS = {  # what each leaves
    "01_first_run": ["runs/quickstart"], "02_gspo_by_hand": [], "03_write_a_reward": ["runs/mended"],
    "04_token_credit": ["runs/quickstart_token"], "05_gsm8k_on_colab": ["runs/gsm8k"],
    "06_turns_and_tools": ["runs/quickstart_tools"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_from_top_to_bottom(path, tmp_path, starter):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace('overrides = ["output.if_exists=overwrite"]', SHORTER)
    NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for folder in RUNS[path.stem]:
        assert (tmp_path / folder / "report.html").is_file()
    shown = json.dumps([cell.get("outputs") for cell in notebook.cells])
    assert str(tmp_path) not in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stripped_and_has_its_badges(path):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert notebook.cells[0].source.count(f"/notebooks/{path.name})") == 2  # of Colab and of Kaggle
