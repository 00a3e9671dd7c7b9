import json

import pytest

from gspo_lite.errors import UsageError
from gspo_lite.system import run_folder


def make_run(path):
    path.mkdir()
    (path / run_folder.RECIPE).write_text("x")
    (path / run_folder.ENVIRONMENT).write_text("{}")


def test_a_new_or_empty_folder_is_accepted(tmp_path):
    run_folder.refuse_existing(tmp_path, "raise")
    run_folder.refuse_existing(tmp_path / "new", "raise")


def test_a_folder_with_a_run_is_refused_only_when_the_recipe_says_so(tmp_path):
    make_run(tmp_path / "run")
    with pytest.raises(UsageError, match="already contains a run"):
        run_folder.refuse_existing(tmp_path / "run", "raise")
    run_folder.refuse_existing(tmp_path / "run", "overwrite")


@pytest.mark.parametrize("if_exists", ["raise", "overwrite", "resume"])
def test_a_folder_with_other_files_is_never_touched(tmp_path, if_exists):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not a run of gspo-lite"):
        run_folder.refuse_existing(tmp_path, if_exists)


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        run_folder.refuse_existing(tmp_path / "out", "overwrite")


def test_json_holds_no_nan(tmp_path):
    run_folder.write_json(tmp_path / "x.json", {"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": -float("inf")}})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [None, 1.5], "c": {"d": None}}


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert run_folder.read_jsonl(tmp_path / "m.jsonl") == [{"step": 1}, {"step": 2}]


def test_rows_after_a_step_are_dropped(tmp_path):
    run_folder.append_jsonl(tmp_path / "m.jsonl", [{"step": n} for n in range(1, 6)])
    run_folder.keep_until(tmp_path / "m.jsonl", 3)
    assert [row["step"] for row in run_folder.read_jsonl(tmp_path / "m.jsonl")] == [1, 2, 3]
