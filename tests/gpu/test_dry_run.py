"""The GPU tests' own scenarios with tiny shapes on a CPU, so that they stand ready and cannot rot.

One of them here; all: python -m tests.gpu.scenarios --dry-run
"""

from importlib.util import find_spec

import pytest

from tests.gpu import scenarios
from tests.gpu.random_models import tokenizer_of_size
from tests.gpu.test_gpu import judge, lines_of

pytestmark = [pytest.mark.slow, pytest.mark.unsloth, pytest.mark.skipif(find_spec("unsloth") is None, reason="Unsloth")]
SHAPE = "0.6B gspo_token"


@pytest.fixture(scope="module")
def done(starter):
    return lines_of("-m", "tests.gpu.scenarios", "--dry-run", SHAPE, timeout=280)


def test_a_shape_trains_in_nf4_through_unsloth(done):
    result = done[SHAPE]
    judge(result, scenarios.SIZES[True]["steps"])
    assert set(result["predicted"]) == {"evaluation", "generation", "training", "resume"}
    assert 0.3 < result["peak_gib"] < 8


def test_a_random_models_tokenizer_names_every_token():
    tokenizer = tokenizer_of_size(1000)
    assert len(tokenizer) == 1000
    assert tokenizer.decode([999]) == "~999~"
    assert len(tokenizer("b c d")["input_ids"]) == 5


def test_prompts_are_as_long_as_the_recipe_allows(tmp_path):
    import json

    from gspo_lite.models.starter import build_tokenizer

    scenarios.problems(tmp_path, 24)
    row = json.loads((tmp_path / "train.jsonl").read_text().splitlines()[0])
    chat = [{"role": "user", "content": row["prompt"]}]
    assert len(build_tokenizer().apply_chat_template(chat, add_generation_prompt=True)["input_ids"]) == 24
