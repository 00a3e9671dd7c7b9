"""A checkpoint counts only when every file is as it was written."""

import copy
import json

import pytest

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.system import redaction
from gspo_lite.system.environment import training_versions
from gspo_lite.training.checkpoint.differences import refuse_changes, refuse_other_code, version_changes
from gspo_lite.training.checkpoint.manifest import (
    Checkpoint,
    fault_of,
    newest_complete,
    tidy,
    write_manifest,
)

RECIPE = {
    "training": {"max_steps": 4, "learning_rate": 1e-3, "lr_scheduler_type": "constant", "save_steps": 2},
    "rewards": [{"name": "a", "weight": 1.0, "timeout": 1.0}],
    "output": {"dir": "x"},
}


def make(folder, step, needs=None):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "weights").write_bytes(bytes(range(100)))
    (path / "state").write_text("{}")
    write_manifest(path, step, needs or {})
    return path


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: (path / "weights").unlink(), "`weights` is missing"),
        (lambda path: (path / "weights").write_bytes(b"x" * 99), "`weights` has 99 bytes, not 100"),
        (lambda path: (path / "weights").write_bytes(b""), "`weights` has 0 bytes"),
        (lambda path: flip(path / "weights", 50), "`weights` was changed after it was written (sha256)"),
        (lambda path: (path / "manifest.json").unlink(), "it has no `manifest.json`"),
        (lambda path: (path / "manifest.json").write_text("{"), "its `manifest.json` cannot be read"),
        (lambda path: (path / "manifest.json").write_text("[1]"), "its `manifest.json` cannot be read"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_said(tmp_path, damage, says):
    path = make(tmp_path, 4)
    assert fault_of(path) is None
    damage(path)
    assert says in fault_of(path)


def test_a_manifest_that_was_edited_is_noticed(tmp_path):
    path = make(tmp_path, 4)
    content = json.loads((path / "manifest.json").read_text())
    content["step"] = 5
    (path / "manifest.json").write_text(json.dumps(content))
    assert "changed after it was written" in fault_of(path)


def test_the_newest_complete_one_is_taken_and_the_others_are_named(tmp_path):
    for step in (4, 8, 12):
        make(tmp_path, step, {"recipe": None})
    flip(tmp_path / "checkpoint-12" / "weights", 0)
    (tmp_path / ".saving-77" / "checkpoint-16").mkdir(parents=True)
    found = newest_complete(tmp_path)
    assert (found.checkpoint.step, found.checkpoint.path.name) == (8, "checkpoint-8")
    assert found.skipped == ["checkpoint of step 12 skipped: `weights` was changed after it was written (sha256)"]
    tidy(tmp_path, found.checkpoint)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-4", "checkpoint-8", "broken-checkpoint-12"}


def test_a_folder_without_checkpoints_has_none(tmp_path):
    assert newest_complete(tmp_path).checkpoint is None
    assert newest_complete(tmp_path / "nowhere").checkpoint is None


def changed(**places):
    recipe = json.loads(json.dumps(RECIPE))
    for place, value in places.items():
        holder, _, key = place.rpartition("__")
        target = recipe["rewards"][0] if holder == "rewards" else recipe[holder]
        target[key] = value
    return recipe


@pytest.mark.parametrize(
    ("new", "line"),
    [
        (changed(training__max_steps=8), "`training.max_steps` was 4, is 8"),
        (changed(training__save_steps=None), "`training.save_steps` was 2, is null"),
        (changed(output__dir="y"), '`output.dir` was "x", is "y"'),
        (changed(training__eval_steps=5), "`training.eval_steps` was null, is 5"),
        (changed(training__stop_early=3), "`training.stop_early` was null, is 3"),
        (changed(output__keep_best=True), "`output.keep_best` was null, is true"),
        (changed(rewards__timeout=2.0), "`rewards.0.timeout` was 1.0, is 2.0"),
    ],
)
def test_a_change_that_leaves_the_steps_as_they_were_is_shown(tmp_path, new, line):
    assert refuse_changes(Checkpoint(tmp_path, 2, {"recipe": RECIPE}), new, force=False) == [line]


def test_timeouts_of_tools_may_change(tmp_path):
    def timed(own, general):
        return {**RECIPE, "tools": [{"name": "a", "timeout": own}], "generation": {"tool_timeout": general}}

    lines = refuse_changes(Checkpoint(tmp_path, 2, {"recipe": timed(None, 30.0)}), timed(5.0, 60.0), force=False)
    assert lines == ["`tools.0.timeout` was null, is 5.0", "`generation.tool_timeout` was 30.0, is 60.0"]


@pytest.mark.parametrize(
    ("new", "line"),
    [
        (changed(training__learning_rate=1e-4), "`training.learning_rate` was 0.001, is 0.0001"),
        (changed(rewards__weight=2.0), "`rewards.0.weight` was 1.0, is 2.0"),
        (changed(training__lr_scheduler_type="cosine", training__max_steps=9), "`training.max_steps` was 4, is 9"),
        ({**RECIPE, "rewards": []}, "`rewards` was "),
    ],
)
def test_a_change_that_makes_it_another_run_is_refused_unless_forced(tmp_path, new, line):
    checkpoint = Checkpoint(tmp_path, 2, {"recipe": RECIPE})
    with pytest.raises(UsageError, match="--force") as caught:
        refuse_changes(checkpoint, new, force=False)
    assert line in caught.value.message
    assert any(line in one for one in refuse_changes(checkpoint, new, force=True))


def test_a_field_that_came_with_a_later_version_is_no_change_and_what_is_set_in_it_is_one(tmp_path):
    now = load_recipe("quickstart").recipe.model_dump(mode="json")
    then = copy.deepcopy(now)
    assert then["generation"].pop("sample_factor") == 1
    checkpoint = Checkpoint(tmp_path, 2, {"recipe": then})
    assert refuse_changes(checkpoint, now, force=False) == []
    now["generation"]["sample_factor"] = 2
    with pytest.raises(UsageError, match=r"`generation\.sample_factor` was 1, is 2"):
        refuse_changes(checkpoint, now, force=False)


@pytest.mark.parametrize("kind", ["custom_rewards", "custom_adapter", "continued"])
def test_custom_code_that_changed_is_refused_unless_forced(tmp_path, kind):
    checkpoint = Checkpoint(tmp_path, 2, {kind: {"f": "aa"}})
    same = {"custom_rewards": {"new": "bb"}, "custom_adapter": {"other": "cc"}}
    refuse_other_code(checkpoint, {**same, kind: {"f": "aa"}}, force=False)
    with pytest.raises(UsageError, match="the file of `f` changed"):
        refuse_other_code(checkpoint, {**same, kind: {"f": "bb"}}, force=False)
    refuse_other_code(checkpoint, {**same, kind: {"f": "bb"}}, force=True)


def test_a_checkpoint_from_before_custom_adapters_can_be_resumed(tmp_path):
    refuse_other_code(Checkpoint(tmp_path, 2, {"custom_rewards": {}}), {"custom_adapter": {"f": "aa"}}, force=False)


def test_what_is_installed_in_another_version_is_told_and_not_refused(tmp_path):
    now = training_versions()
    assert {"gspo-lite", "torch", "transformers", "trl", "peft", "unsloth", "bitsandbytes"} == set(now)
    path = make(tmp_path, 4, {"versions": {**now, "trl": "1.13.0", "unsloth": None}})
    checkpoint = newest_complete(path.parent).checkpoint
    told = version_changes(checkpoint, {**now, "trl": "1.14.0", "unsloth": "2026.10.9"})
    assert [line.split(";")[0] for line in told] == [
        "trl was 1.13.0, is 1.14.0",
        "unsloth was not installed, is 2026.10.9",
    ]
    assert version_changes(Checkpoint(tmp_path, 4, {}), now) == []  # a checkpoint that says nothing


def test_a_secret_is_compared_by_its_fingerprint_and_another_one_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(redaction, "given", {"first-secret", "other-secret"})
    first, other = (changed(rewards__options={"api_key": key}) for key in ("first-secret", "other-secret"))
    path = make(tmp_path, 4, {"recipe": first})
    assert "first-secret" not in (path / "manifest.json").read_text()
    checkpoint = newest_complete(tmp_path).checkpoint
    assert refuse_changes(checkpoint, first, force=False) == []
    (line,) = refuse_changes(checkpoint, other, force=False)
    assert line.startswith('`rewards.0.options.api_key` was "***')
    assert "secret" not in line
    with pytest.raises(UsageError, match=r"rewards\.0\.options\.api_key"):
        refuse_changes(checkpoint, changed(rewards__options={"api_key": "no secret"}), force=False)


def test_resuming_says_which_versions_changed(tmp_path, capsys):
    from gspo_lite import load_recipe
    from gspo_lite.run import resume_point

    make(tmp_path / "checkpoints", 4, {"versions": {**training_versions(), "trl": "1.0.0"}})
    assert resume_point(tmp_path, load_recipe("quickstart").recipe, force=False).step == 4
    said = capsys.readouterr().err
    assert f"warning: trl was 1.0.0, is {training_versions()['trl']}" in said
    assert said.count("warning") == 1
