"""Unsloth's real patched trainer against a float64 twin, every micro-step, in a process of its own."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("patched_trainer.py")
CONTROLS = (
    "control: advantages not aligned", "control: no stop-gradient", "control: a tool's tokens in the mean",
)  # fmt: skip
SHIFTED = "control: turns shifted by one"

pytestmark = [pytest.mark.unsloth]

specification = importlib.util.spec_from_file_location("patched_trainer", SCRIPT)
patched_trainer = importlib.util.module_from_spec(specification)
specification.loader.exec_module(patched_trainer)
EXACT = [name for name in patched_trainer.SCENARIOS if name not in (*CONTROLS, SHIFTED)]


@pytest.fixture(scope="module")
def results():
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=300)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"scenario"')]
    assert len(lines) == len(patched_trainer.SCENARIOS) + 2, done.stderr[-3000:]
    return {line["scenario"]: line for line in lines}


@pytest.mark.parametrize("scenario", EXACT)
def test_every_micro_step_equals_the_float64_twin(results, scenario):
    result = results[scenario]
    assert "error" not in result, result["error"]
    for gap in result["gaps"]:
        assert gap["loss"] < 1e-6
        assert gap["gradient"] < 1e-5
        assert gap["turns"] < 1e-5
        every = "whole" in scenario or "beta" in scenario  # the KL penalty is of all rows
        assert gap["seen"] == gap["rows"] - (0 if every else gap["idle"])  # those Unsloth is given
        assert gap["asked"] == (2 if "oversampled" in scenario else 1)
    assert "idle" not in scenario or any(gap["idle"] for gap in result["gaps"])
    played = {count for gap in result["gaps"] for count in gap["played"]}
    assert {2, 3} <= played or not any(word in scenario for word in ("turns", "tools", "episodes"))
    if "on-policy" not in scenario:
        assert max(gap["largest_log_ratio"] for gap in result["gaps"]) > 0.1  # off-policy, beyond the clip
    assert all(gap["followed"] != gap["zero"] for gap in result["gaps"])  # no backward pass where the gradient is 0
    assert any(gap["zero"] for gap in result["gaps"]) or "all clipped" not in scenario
    padding = max(gap["left_padding"] for gap in result["gaps"])
    assert (padding == 0) == ("padded" in scenario)


@pytest.mark.parametrize("scenario", CONTROLS)
def test_the_comparison_notices_what_the_hook_is_for(results, scenario):
    gaps = results[scenario]["gaps"]
    assert max(gap["gradient"] for gap in gaps) > 0.1


def test_advantages_of_other_turns_are_noticed(results):
    assert max(gap["turns"] for gap in results[SHIFTED]["gaps"]) > 0.1


def test_no_hook_can_be_taken_from_unsloth_unnoticed(results):
    result = results[patched_trainer.HOOKS]
    assert result.get("missed") == [], result
    assert result["tried"] > 150


def test_unsloth_asks_every_family_of_chat_models_as_evaluation_does(results):
    assert results[patched_trainer.CHATS] == {"scenario": "chats", "families": 10, "other": []}
