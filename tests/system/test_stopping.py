"""Signals, the lock of a run folder and secrets: what a run shares with the system around it."""

import os
import re
import signal
import subprocess
import sys

import pytest

from gspo_lite.errors import UsageError
from gspo_lite.system import redaction, stopping
from gspo_lite.system.lock import acquire, held


@pytest.fixture(autouse=True)
def nothing_asked():
    yield
    stopping.forget()


@pytest.mark.parametrize(
    ("signum", "error"),
    [
        (signal.SIGINT, KeyboardInterrupt),
        (signal.SIGTERM, stopping.Terminated),
        (signal.SIGHUP, stopping.Terminated),
    ],
)
def test_a_signal_waits_until_it_is_let_through(signum, error):
    stopping.hold()
    stopping.take(signum)
    with pytest.raises(error):
        stopping.release()
    stopping.release()  # once


def test_a_signal_comes_at_once_where_nothing_is_held():
    with pytest.raises(KeyboardInterrupt):
        stopping.take(signal.SIGINT)


def test_ctrl_c_in_a_notebook_waits_for_the_step_and_leaves_the_handler_as_it_was():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stopping.listening():  # noqa: PT012
        stopping.hold()
        os.kill(os.getpid(), signal.SIGINT)
        reached = True
        stopping.release()
    assert reached
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("second", "code"), [("SIGINT", 130), ("SIGTERM", 5)])
def test_only_a_second_ctrl_c_leaves_at_once(second, code):
    program = (
        "import os, signal, sys\nfrom gspo_lite.system import stopping\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "stopping.install()\nstopping.hold()\n"
        f"for one in ('SIGTERM', '{second}'):\n    os.kill(os.getpid(), getattr(signal, one))\nsys.exit(5)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == code


def test_a_hangup_that_was_ignored_stays_ignored():
    program = (
        "import os, signal\nfrom gspo_lite.system import stopping\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "stopping.install()\nos.kill(os.getpid(), signal.SIGHUP)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_one_run_per_folder_and_the_other_is_named(tmp_path):
    program = (
        f"from pathlib import Path; from gspo_lite.system.lock import held\nwith held(Path({str(tmp_path)!r})): pass"
    )
    with held(tmp_path):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert f"in use by process {os.getpid()}, another run" in done.stderr
        assert (tmp_path / ".lock").is_file()
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_a_killed_run_is_no_lock(tmp_path):
    (tmp_path / ".lock").write_text("1")
    with held(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_a_lock_that_its_run_removed_meanwhile_is_not_taken(tmp_path):
    handle = os.open(tmp_path / ".lock", os.O_RDWR | os.O_CREAT)
    (tmp_path / ".lock").unlink()
    with pytest.raises(UsageError, match="has just ended"):
        acquire(handle, tmp_path)
    os.close(handle)


def test_folders_made_for_nothing_vanish_again(tmp_path):
    with held(tmp_path / "a" / "b"):
        pass
    assert not (tmp_path / "a").exists()
    with held(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "result").write_text("x")
    assert (tmp_path / "a" / "b" / "result").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written to"), held(tmp_path / "file" / "run"):
        pass


def test_secrets_are_masked_wherever_they_come_from(monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false-and-long")
    monkeypatch.setattr(redaction, "given", set())
    redaction.note_options(["--set", "training.extra.hub_token=secret-option", "data.source=not-a-secret"])
    text = "hf_abcdefgh 0123456789abcdef secret-option not-a-secret false-and-long"
    assert redaction.redact(text) == "*** *** *** not-a-secret false-and-long"
    monkeypatch.setattr(sys, "stdout", redaction.Redacted(sys.stdout))
    print(text)
    assert capsys.readouterr().out == "*** *** *** not-a-secret false-and-long\n"


@pytest.mark.parametrize("name", ["HF_TOKEN", "hub_token", "WANDB_API_KEY", "api_key", "extra.hub_token", "token"])
def test_names_of_secrets(name):
    assert redaction.is_secret(name)


@pytest.mark.parametrize("name", ["max_tokens", "TOKENIZERS_PARALLELISM", "token_level", "monkey", "secretary"])
def test_names_of_other_things(name):
    assert not redaction.is_secret(name)


def test_files_of_a_run_hold_no_secret(tmp_path, monkeypatch):
    from gspo_lite.system import run_folder

    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    run_folder.write_json(tmp_path / "a.json", {"command": "x=hf_abcdefgh"})
    run_folder.append_jsonl(tmp_path / "b.jsonl", [{"completion": "hf_abcdefgh"}])
    assert "hf_abcdefgh" not in (tmp_path / "a.json").read_text() + (tmp_path / "b.jsonl").read_text()


def test_secrets_of_a_recipe_are_known_by_key_or_by_shape(monkeypatch):
    monkeypatch.setattr(redaction, "given", set())
    options = {"api_key": "key-number-one", "keys": ["sk-abcdefghijklmnop"], "api_keys": ["key-number-two"]}
    redaction.note_values(
        {"rewards": [{"name": "f", "options": {**options, "token": "short", "url": "http://example"}}]}
    )
    assert redaction.given == {"key-number-one", "key-number-two", "sk-abcdefghijklmnop"}
    shown = redaction.redact_values({"a": ["x key-number-one", 7]})
    assert shown == {"a": ["x ***", 7]}
    marked = redaction.redact_values("key-number-one", fingerprints=True)
    assert re.fullmatch(r"\*\*\*[0-9a-f]{4}", marked)
    assert redaction.without_fingerprints([marked]) == ["***"]


def test_a_secret_that_is_a_number_breaks_no_figure(tmp_path, monkeypatch):
    from gspo_lite.system import run_folder

    monkeypatch.setattr(redaction, "given", {"12345678", 'a"quoted\\one'})
    run_folder.append_jsonl(tmp_path / "a.jsonl", [{"loss": 0.12345678, "text": 'is 12345678 or a"quoted\\one'}])
    assert run_folder.read_jsonl(tmp_path / "a.jsonl") == [{"loss": 0.12345678, "text": "is *** or ***"}]


def test_the_mask_of_a_run_folder_is_not_taken_for_the_secret(quick):
    from gspo_lite.checked_recipe import load_recipe, refuse
    from gspo_lite.errors import RecipeError

    masked = load_recipe("quickstart", [*quick, "rewards=[{name: 'json:dumps', options: {api_key: '***'}}]"]).recipe
    with pytest.raises(RecipeError, match=r"rewards\.0\.options\.api_key.*provide the secret with --set"):
        refuse(masked)


@pytest.mark.parametrize(("at_once", "reached"), [(False, ["import"]), (True, [])])
def test_a_signal_waits_for_an_import_where_the_process_goes_on(at_once, reached, monkeypatch):
    monkeypatch.setattr(stopping.received, "exit_at_once", at_once)
    done = []
    with pytest.raises(KeyboardInterrupt), stopping.deferred():  # noqa: PT012
        stopping.take(signal.SIGINT)
        done.append("import")
    assert done == reached
