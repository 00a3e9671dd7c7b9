"""Trackers of a run: what they are sent, that a resumed run goes on in them, and that no secret gets there."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from gspo_lite.errors import MachineError
from gspo_lite.training.watch import trackers

SECRETS = {"HF_TOKEN": "hf_plantedsecret0123", "WANDB_API_KEY": "plantedwandbkey0123456789"}
INSTALLED = [name for name in trackers.PACKAGES if find_spec(name)]


# Both runs in one process of their own: trackio looks for its folder when it is imported, and trl imports it.
TWICE = """
import sys
from gspo_lite import load_recipe
from gspo_lite.system import redaction
from gspo_lite.run import run
redaction.guard_streams()
sets = sys.argv[1:]
run(load_recipe("quickstart", sets, output="run").recipe)
run(load_recipe("quickstart", [*sets, "training.max_steps=8"], output="run").recipe, resume=True)
"""


@pytest.mark.slow
def test_trackers_hold_metrics_and_table_go_on_after_a_resume_and_know_no_secret(tmp_path, quick, starter):
    places = {**SECRETS, "WANDB_MODE": "offline", "TRACKIO_DIR": str(tmp_path / "trackio")}
    sets = [*quick, "data.eval.limit=8", f"output.report_to=[{','.join(INSTALLED)}]", "training.save_steps=4"]
    call, environment = [sys.executable, "-c", TWICE, *sets], {**os.environ, **places}
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = sorted((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert len(runs) == 2
    assert len({path.name.rsplit("-", 1)[1] for path in runs}) == 1  # the same id
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    for path, logged in zip(runs, (steps[:4], steps[4:]), strict=True):
        record = next(path.glob("run-*.wandb")).read_bytes()
        assert all(repr(row["gspo/log_ratio_std"]).encode() in record for row in logged if "gspo/log_ratio_std" in row)
        (table,) = path.rglob("completions_*.table.json")
        rows = json.loads(table.read_text())
        assert rows["columns"][:3] == ["step", "prompt", "completion"]
        assert {"math_correct", "advantage"} <= set(rows["columns"])
        assert len(rows["data"]) == 4
    if "tensorboard" in INSTALLED:
        assert len(list((tmp_path / "run" / "tensorboard").glob("events.out.*"))) == 2
    if "trackio" in INSTALLED:
        assert list((tmp_path / "trackio").glob("*.db"))
    shown = done.stdout + done.stderr
    assert "answering 8 held-out problems" in shown
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 30
    for secret in SECRETS.values():
        assert secret not in shown
        assert [path for path in files if secret.encode() in path.read_bytes()] == []


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match="not installed: trackio tensorboard") as caught:
        trackers.require(["trackio", "tensorboard"])
    assert "`pip install trackio tensorboard`" in caught.value.hint
    assert caught.value.exit_code == 3
    trackers.require(["none"])


def test_wandb_without_a_key_is_refused_where_nobody_can_be_asked(monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", os.devnull)
    monkeypatch.setattr("wandb.api", type("Api", (), {"api_key": None})())
    with pytest.raises(MachineError, match="needs an API key"):
        trackers.require(["wandb"])
    monkeypatch.setenv("WANDB_MODE", "offline")
    trackers.require(["wandb"])


def test_a_missing_package_ends_a_run_before_the_model_is_loaded(tmp_path):
    code = (
        "import sys\nfrom gspo_lite.training.watch import trackers\ntrackers.find_spec = lambda name: None\n"
        "from gspo_lite import load_parts\nload_parts.load_model = load_parts.choose_backend = None\n"
        "from gspo_lite.cli import main\n"
        "sys.argv = ['gspo-lite', 'run', 'quickstart', '--set', 'output.report_to=[trackio]', '--output', 'out']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3
    assert "pip install trackio" in done.stderr
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


def test_a_table_has_a_column_for_each_reward_and_for_what_it_logged(monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "secret-value")
    plain = {"step": 1, "prompt": "?", "completion": "7", "answer": 7, "extracted": None, "advantage": 0.5}
    row = {**plain, "problem_key": "0", "rewards": {"mine": 1.0}, "extra": {"mine": {"parsed": "secret-value 7"}}}
    assert trackers.cells(row) == {**plain, "answer": "7", "mine": 1.0, "mine.parsed": "*** 7"}
    row["prompt"] = [{"role": "system", "content": "Be secret-value."}, {"role": "user", "content": "?"}]
    assert trackers.cells(row)["prompt"] == "system: Be ***.\n\nuser: ?"
