"""Exports of a real model, loaded by the tools they are for: llama.cpp, by its packages, and lm-eval.

uv run --group real --extra export --with lm-eval==0.4.13 pytest -m real tests/real/test_exports.py
"""

import json
import os
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.export import llama_cpp
from gspo_lite.export import round_trip as exporting
from gspo_lite.export.forms import Options
from gspo_lite.models import smollm2

PROMPTS = 20

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(smollm2.packaged_file() is None, reason="needs `uv run --group real`"),
]


def needs(*tools):
    missing = [tool for tool in tools if not llama_cpp.at_hand(tool)]
    return pytest.mark.skipif(bool(missing), reason=f"needs `uv run --extra export`: no {', '.join(missing)}")


needs_llama_cpp = needs(llama_cpp.CONVERTER, llama_cpp.LORA_CONVERTER, llama_cpp.SERVER)
needs_quantizer = needs(llama_cpp.QUANTIZER)  # whose package wants glibc 2.38


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose adapter is far from its base after a few large steps."""
    from gspo_lite.run import run

    folder = tmp_path_factory.mktemp("exports") / "real run"
    settings = ["training.max_steps=4", "training.learning_rate=0.001", f"data.eval.limit={PROMPTS}"]
    run(load_recipe("smollm2_json", settings, output=str(folder)).recipe)
    return folder


@needs_llama_cpp
@pytest.mark.parametrize("form", ["gguf", "gguf-lora"])
def test_llama_cpp_answers_as_the_adapter_does(trained, tmp_path, form):
    result = exporting.export(trained, form, tmp_path / "out", Options(prompts=PROMPTS))
    assert result.asked_by == "llama.cpp"
    assert result.round_trip.agreement >= 0.95, exporting.in_words(result.round_trip)
    assert result.round_trip.adapter_accuracy > 0.1  # the base alone has 0.025
    assert 'TEMPLATE """{{ if .System }}<|im_start|>system\n' in (tmp_path / "out" / "Modelfile").read_text()


@needs_llama_cpp
@needs_quantizer
@pytest.mark.parametrize(("outtype", "largest"), [("q5_k_m", 0.45), ("q4_k_m", 0.42)])
def test_weights_of_few_bits_are_smaller_and_are_asked(trained, tmp_path, outtype, largest):
    result = exporting.export(trained, "gguf", tmp_path / "out", Options(outtype=outtype, prompts=PROMPTS))
    assert result.asked_by == "llama.cpp"
    weights = 2 * 134.5e6  # bytes in 16 bits
    assert (tmp_path / "out" / "model.gguf").stat().st_size < largest * weights


TASK = """\
task: people
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: [], do_sample: false}}
metric_list: [{{metric: exact_match}}]
"""


@pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs lm-eval")
def test_lm_eval_measures_an_adapter_by_the_line_that_is_printed(trained, tmp_path):
    result = exporting.export(trained, "adapter", tmp_path / "out", Options(prompts=4))
    samples = map(json.loads, (trained / "eval_samples.jsonl").read_text().splitlines())
    after = [one for one in samples if one["phase"] == "after"]
    rows = [{"question": one["prompt"][-1]["content"], "answer": one["completion"]} for one in after]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "people.yaml").write_text(TASK.format(rows=tmp_path / "rows.jsonl"))
    words = shlex.split(next(line for line in result.commands if line.startswith("lm_eval ")))
    words[-1:] = ["people", "--include_path", str(tmp_path), "--device", "cpu", "--output_path", str(tmp_path / "said")]
    program = [sys.executable, "-m", "lm_eval", *words[1:]]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(program, env=offline, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (found,) = Path(tmp_path / "said").rglob("results*.json")
    assert json.loads(found.read_text())["results"]["people"]["exact_match,none"] >= 0.95
