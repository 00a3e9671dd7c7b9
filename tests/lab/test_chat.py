"""Talking to the result of a run: a run folder, its adapter, a merged export."""

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from gspo_lite import load_recipe
from gspo_lite.cli import chat as command
from gspo_lite.errors import UsageError
from gspo_lite.export.round_trip import Options, export
from gspo_lite.lab import chat
from gspo_lite.run import run
from gspo_lite.system import stopping


@pytest.fixture(scope="module")
def finished(tmp_path_factory, starter):
    folder = tmp_path_factory.mktemp("chat") / "run"
    small = ["training.max_steps=4", "training.per_device_train_batch_size=8", "data.eval.limit=4", "data.limit=64"]
    small.append("training.save_steps=2")
    return run(load_recipe("quickstart", small, output=str(folder)).recipe).folder


def answers(path, *questions, **options):
    shown = []
    chat.talk(chat.open_chat(path, **options), questions, shown.append)
    return "".join(shown)


def test_run_adapter_and_export_answer_alike_and_as_the_evaluation_did(finished):
    rows = [json.loads(line) for line in (finished / "eval_samples.jsonl").read_text().splitlines()]
    row = next(row for row in rows if row["phase"] == "after")
    question = row["prompt"][-1]["content"]
    assert answers(finished, question) == row["completion"] + "\n"
    assert answers(finished / "adapter", question) == row["completion"] + "\n"
    export(finished, "merged", None, Options(prompts=4))
    assert answers(finished / "export-merged", question).startswith("<think>")


def test_text_is_handed_on_in_pieces_and_turns_are_kept_only_if_asked(finished):
    pieces = []
    alone, kept = (chat.open_chat(finished, remember=remember) for remember in (False, True))
    answer = kept.reply("What is 1 + 2?", pieces.append)
    assert "".join(pieces) == answer
    assert [turn["role"] for turn in kept.turns] == ["system", "user", "assistant"]
    alone.reply("What is 1 + 2?", pieces.append)
    assert alone.turns == []
    chat.talk(kept, ["/reset"], pieces.append)
    assert kept.turns == []


class Broken:
    """A chat whose first answer is interrupted."""

    def __init__(self):
        self.asked = []

    def reply(self, text, show):
        self.asked.append(text)
        if text == "long":
            stopping.received.first = 2
            raise KeyboardInterrupt


def test_quit_ends_the_talk_and_ctrl_c_only_an_answer():
    talk, shown = Broken(), []
    chat.talk(talk, ["long", " ", "short", "/quit", "never"], shown.append)
    assert talk.asked == ["long", "short"]
    assert "".join(shown) == " [stopped]\n\n"
    assert stopping.received.first is None  # the next Ctrl-C is a first one again


def test_what_could_steer_a_terminal_is_not_shown(capsys):
    command.show("a\x1b[2Jb\u202e\n")
    assert capsys.readouterr().out == "a?[2Jb?\n"


def test_lines_that_are_piped_in_are_questions_until_they_end(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\ntwo\n"))
    assert list(command.questions()) == ["one", "two"]


def test_a_folder_that_cannot_be_talked_to_is_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        chat.open_chat(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"test_chat.py` is a file"):
        chat.open_chat(Path(__file__))
    with pytest.raises(UsageError, match="which recipe") as caught:
        chat.open_chat(tmp_path)
    assert "--recipe" in caught.value.hint
    with pytest.raises(UsageError, match="has no model"):
        chat.open_chat(tmp_path, "quickstart")


def test_the_command_answers_one_question(finished, capsys):
    command.chat(finished, "What is 12 + 34?")
    shown = capsys.readouterr()
    assert shown.out.startswith("<think>")
    assert shown.out.count("\n") == 1
    assert "system   Reason about the question between <think> and </think>." in shown.err


def test_an_interrupted_run_and_one_of_its_checkpoints_can_be_talked_to(finished, tmp_path, capsys):
    cut = tmp_path / "cut"
    shutil.copytree(finished, cut)
    shutil.rmtree(cut / "adapter")
    for path in (cut, cut / "checkpoints" / "checkpoint-2"):
        assert answers(path, "What is 12 + 34?").startswith("<think>")
    lines = [line for line in capsys.readouterr().err.splitlines() if "using" in line]
    assert lines == [
        "note     not the finished adapter: using checkpoint-4, step 4 of 4",
        "note     not the finished adapter: using checkpoint-2, step 2 of 4",
    ]


@pytest.mark.parametrize(("wanted", "system"), [(None, "Answer as JSON."), ("", None), ("Be brief.", "Be brief.")])
def test_the_system_message_of_the_rows_is_used_unless_another_is_given(recorded, wanted, system, capsys):
    assert chat.open_chat(recorded, system=wanted).system == system
    assert f"system   {system or 'none'}\n" in capsys.readouterr().err


@pytest.fixture
def recorded(finished, tmp_path):
    """The run as if all its rows had begun with a system message of their own."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    facts = json.loads((folder / "environment.json").read_text())
    assert facts["system_message"].startswith("Reason about the question")
    (folder / "environment.json").write_text(json.dumps({**facts, "system_message": "Answer as JSON."}))
    return folder
