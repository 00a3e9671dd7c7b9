"""An exported adapter of a real model, measured by lm-eval. A file of its own, so that a second process can run it.

uv run --group real --with lm-eval==0.4.13 pytest -m real tests/real/test_lm_eval.py
"""

import json
import os
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from gspo_lite.export import round_trip as exporting
from gspo_lite.export.forms import Options
from gspo_lite.models import smollm2

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(smollm2.packaged_file() is None, reason="needs `uv run --group real`"),
    pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs lm-eval"),
]

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
