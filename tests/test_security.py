"""What is never run or read unasked: code beside a recipe, code beside a model, files outside the tree, pickles."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from gspo_lite import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.recipe.schema import ModelSettings
from tests.recipe.test_broken_recipes import GOOD
from tests.report.test_report import BETTER, FIGURES, make_run

SOURCES = sorted((Path(__file__).resolve().parent.parent / "gspo_lite").rglob("*.py"))
LOOKS = [
    ["check", "r.yaml"],
    ["plan", "r.yaml", "--vram", "8"],
    ["doctor", "r.yaml", "--quick"],
    ["recipes"],
    ["schema"],
    ["rewards", "list"],
    ["rewards", "show", "math_correct"],
    ["report", "run"],
]
EACH = """
import sys
from gspo_lite.cli import main
for words in {looks!r}:
    sys.argv = ["gspo-lite", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (words, end.code)
"""


def recipe_with(folder, *rewards):
    lines = "".join(f"  - {{name: '{name}'}}\n" for name in rewards)
    (folder / "r.yaml").write_text(GOOD.replace("  - name: math_correct\n    weight: 1.0\n", lines))


def test_commands_that_only_look_never_run_a_custom_reward_or_adapter(tmp_path):
    for name in ("mine", "other"):
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'marker')!r}, 'w').close()\ndef f(completions, **_):\n    return [0.0, 1.0]\n"
        )
    recipe_with(tmp_path, "mine.py:f", "other:g")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(recipe.read_text().replace("source: arithmetic", "source: arithmetic\n  adapter: mine.py:f"))
    run = make_run(tmp_path / "run", evaluation={"before": FIGURES, "after": BETTER})
    text = (tmp_path / "r.yaml").read_text()
    (run / "recipe.yaml").write_text(text)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{EACH.format(looks=LOOKS)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "r.yaml: ok" in done.stdout
    assert not (tmp_path / "marker").exists()
    from gspo_lite.rewards.contract.custom import load_custom

    load_custom(str(tmp_path / "mine.py:f"), {})  # what `run` does
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("kind", ["output", "data", "adapter", "reward"])
def test_a_link_that_leads_out_of_the_tree_is_refused(tmp_path, monkeypatch, kind):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "rows.jsonl").write_text('{"prompt": "1+1", "answer": "2"}\n')
    (outside / "f.py").write_text("def f(completions, **_):\n    return []\n")
    monkeypatch.chdir(inside)
    (inside / "link").symlink_to(outside)
    text = {
        "output": GOOD.replace("dir: runs/x", "dir: link/run"),
        "data": GOOD.replace("source: arithmetic", "source: link/rows.jsonl"),
        "adapter": GOOD.replace("source: arithmetic", "source: arithmetic\n  adapter: link/f.py:f"),
        "reward": GOOD.replace("name: math_correct", "name: link/f.py:f"),
    }[kind]
    (inside / "r.yaml").write_text(text)
    with pytest.raises(UsageError, match="--allow-outside"):
        load_recipe("r.yaml")
    load_recipe("r.yaml", allow_outside=True)


def test_code_of_a_model_runs_only_where_the_recipe_says_so(tmp_path, capsys, monkeypatch):
    from types import SimpleNamespace

    from gspo_lite import run
    from gspo_lite.load_parts import Parts
    from gspo_lite.recipe.dump import to_yaml

    assert ModelSettings.model_fields["trust_remote_code"].default is False
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                assert ast.unparse(node.value) == "settings.trust_remote_code", path
    recipe = load_recipe("quickstart", ["model.trust_remote_code=true"]).recipe
    monkeypatch.setattr(run, "environment", lambda *_: {"hardware": "", "started": ""})
    problems = SimpleNamespace(train=[], held_out=[], notes=[], adapter=None)
    loaded = SimpleNamespace(backend="x", notes=[], weights={})
    engine = SimpleNamespace(name="x", title="x")
    parts = Parts(recipe, problems, [], loaded, engine, SimpleNamespace(correction=""))
    run.begin(tmp_path / "run", parts, None, resume=False, clock=run.Clock())
    assert "runs Python code that comes with the model (model.trust_remote_code)" in capsys.readouterr().err
    assert "trust_remote_code: true" in (tmp_path / "run" / "recipe.yaml").read_text()
    assert "trust_remote_code: false" in to_yaml(load_recipe("quickstart").recipe, "")


def test_nothing_in_the_source_unpickles():
    names = {"pickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not names & {name.split(".")[0] for name in imported}, path
            if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
                safe = {"allow_pickle": "False", "weights_only": "True"}[node.arg]
                assert ast.unparse(node.value) == safe, path
