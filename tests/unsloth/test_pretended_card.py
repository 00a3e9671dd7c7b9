"""FastLanguageModel on a pretended card: prompts are shared in both passes, exactly, and not where they round apart."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("pretended_card.py")

pytestmark = [pytest.mark.unsloth, pytest.mark.slow, pytest.mark.timeout(600)]


def run(scenario, tmp_path):
    stub = tmp_path / "ldconfig"  # Unsloth calls it as root when its import finds no driver
    stub.write_text("#!/bin/sh\n")
    stub.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, SCRIPT, scenario], capture_output=True, text=True, timeout=500, env=environment
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"scenario"')]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[0])


def test_old_and_new_log_probs_come_from_prompts_shared_by_whole_groups(tmp_path):
    """A rollout of two micro-batches of a flat group and one that varies; the flat one is never computed."""
    result = run("grouped", tmp_path)
    assert result["said"] == ["         each prompt is computed once for the completions of its group in a micro-batch"]
    assert {(kind, rows) for kind, rows, _ in result["passes"]} == {("old", 2), ("new", 2)}
    assert all(calls == 1 for *_, calls in result["passes"])  # one layer
    assert set(result["gaps"]) == {"shared", "without sharing of prompts", "without packing of rows"}
    assert max(result["gaps"].values()) < 1e-5
    assert result["floor"] == 0


def test_an_advantage_for_every_token_has_the_same_gradient_by_every_way(tmp_path):
    """And one for all tokens of a row has GSPO's, not GRPO's."""
    result = run("credit", tmp_path)
    assert set(result["gaps"]) == {"shared", "without sharing of prompts", "without packing of rows"}
    assert max(result["gaps"].values()) < 1e-5
    assert result["levels"]["sequence"] < 1e-5 < 1e-2 < result["levels"]["token"]


def test_sharing_that_rounds_old_and_new_log_probs_apart_is_ended(tmp_path):
    result = run("noisy", tmp_path)
    (told,) = result["said"]
    assert told.startswith("note     Unsloth's sharing of prompts off: log s of an unmoved policy had a noise of ")
    assert all(calls == 0 for *_, calls in result["passes"])
    assert result["floor"] < 1e-6
