"""The GPU tests' own scenarios with tiny shapes on a CPU, so that they stand ready and cannot rot.

One of them here; all: python -m tests.gpu.scenarios --dry-run
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.gpu import scenarios
from tests.gpu.random_models import tokenizer_of_size
from tests.gpu.test_gpu import judge

pytestmark = [pytest.mark.unsloth, pytest.mark.skipif(find_spec("unsloth") is None, reason="Unsloth")]
ROOT = Path(__file__).resolve().parents[2]
SHAPE = "0.6B gspo_token"


@pytest.fixture(scope="module")
def printed(starter):
    """What the GPU kit's script prints of the scenario: the scenario's own line, and what matters of it."""
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_kit" / "shape.py"), SHAPE, "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=ROOT)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.splitlines()


def test_a_shape_trains_in_nf4_through_unsloth(printed):
    (result,) = (json.loads(line) for line in printed if line.startswith('{"scenario"'))
    judge(result, scenarios.SIZES[True]["steps"])
    assert set(result["predicted"]) == {"evaluation", "generation", "training", "resume"}
    assert 0.3 < result["peak_gib"] < 8


def test_the_kit_tells_the_peak_beside_what_plan_predicts(printed):
    (told,) = (json.loads(line.removeprefix("RESULT ")) for line in printed if line.startswith("RESULT "))
    assert (told["scenario"], told["steps"]) == (SHAPE, 2)
    assert told["ratio"] == pytest.approx(told["peak_gib"] / told["predicted_gib"], rel=0.2)
    assert told["moved"] >= 0.99


def test_a_random_models_tokenizer_names_every_token():
    tokenizer = tokenizer_of_size(1000)
    assert len(tokenizer) == 1000
    assert tokenizer.decode([999]) == "~999~"
    assert len(tokenizer("b c d", add_special_tokens=False)["input_ids"]) == 5


def test_prompts_are_as_long_as_the_recipe_allows(tmp_path):
    from gspo_lite.models.starter import build_tokenizer

    scenarios.problems(tmp_path, 24)
    row = json.loads((tmp_path / "train.jsonl").read_text().splitlines()[0])
    chat = [{"role": "user", "content": row["prompt"]}]
    assert len(build_tokenizer().apply_chat_template(chat, add_generation_prompt=True)["input_ids"]) == 24
