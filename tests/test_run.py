"""A whole run on the embedded model and task, as the command line starts it."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gspo_lite import load_recipe
from gspo_lite.errors import MachineError, RewardError, UsageError
from gspo_lite.run import run

GSM8K = Path(__file__).resolve().parents[2] / "shared" / "data" / "gsm8k"
FILES = {
    "recipe.yaml", "environment.json", "metrics.jsonl", "completions.jsonl", "eval.json", "eval_samples.jsonl",
    "adapter", "report.html", "report.md", "plots", "README.md",
}  # fmt: skip


@pytest.fixture
def finished(tmp_path, monkeypatch, quick, starter):
    monkeypatch.chdir(tmp_path)
    return run(load_recipe("quickstart", quick).recipe, command="gspo-lite run quickstart")


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_run_folder_is_complete(finished, tmp_path):
    folder = tmp_path / "runs" / "quickstart"
    assert {path.name for path in folder.iterdir()} >= FILES
    assert [row["step"] for row in rows_of(folder / "metrics.jsonl")] == [1, 2, 3, 4]
    evaluation = json.loads((folder / "eval.json").read_text())
    assert set(evaluation) == {"before", "after"}
    for figures in evaluation.values():
        assert figures["n"] == 16
        assert figures["ci95"][0] <= figures["accuracy"] <= figures["ci95"][1]
    sample = rows_of(folder / "completions.jsonl")[0]
    assert {"step", "prompt", "completion", "answer", "extracted", "rewards", "advantage"} <= set(sample)
    assert [message["role"] for message in sample["prompt"]] == ["system", "user"]
    asked = rows_of(folder / "eval_samples.jsonl")
    after = [row["rewards"]["math_correct"] for row in asked if row["phase"] == "after"]
    assert sum(after) / len(after) == evaluation["after"]["rewards"]["math_correct"]
    metrics = rows_of(folder / "metrics.jsonl")[0]
    assert {f"rewards/math_correct/{kind}" for kind in ("none_count", "error_count", "seconds")} <= set(metrics)
    facts = json.loads((folder / "environment.json").read_text())
    assert facts["command"] == "gspo-lite run quickstart"
    assert set(facts["seconds"]) == {"load", "evaluate before", "train", "evaluate after"}


def test_a_run_that_samples_more_than_it_trains_on_says_so(tmp_path, monkeypatch, quick, starter, capsys):
    monkeypatch.chdir(tmp_path)
    done = run(load_recipe("quickstart", [*quick, "generation.sample_factor=2"]).recipe)
    assert "2 times a rollout's prompts in one call" in capsys.readouterr().err
    first, *rest = rows_of(done.folder / "metrics.jsonl")
    assert 0 <= first["gspo/oversample/flat_share"] <= first["frac_reward_zero_std"]
    assert not any("gspo/oversample/flat_share" in row for row in rest)  # one rollout


def test_the_adapter_loads_with_peft_and_answers_as_it_did(finished):
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    folder = finished.folder / "adapter"
    model = AutoPeftModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sample = next(row for row in rows_of(finished.folder / "eval_samples.jsonl") if row["phase"] == "after")
    text = tokenizer.apply_chat_template(sample["prompt"], tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    output = model.generate(**ids, max_new_tokens=48, do_sample=False)
    assert tokenizer.decode(output[0, ids.input_ids.shape[1] :], skip_special_tokens=True) == sample["completion"]


def test_the_resolved_recipe_reproduces_the_run(finished):
    again = run(load_recipe(str(finished.folder / "recipe.yaml"), output="again").recipe)
    first, second = (load_weights(folder / "adapter") for folder in (finished.folder, again.folder))
    assert all(torch.equal(first[name], second[name]) for name in first)
    timings = {"time", "seconds", "step_time", "tokens_per_second"}
    for old, new in zip(
        rows_of(finished.folder / "metrics.jsonl"), rows_of(again.folder / "metrics.jsonl"), strict=True
    ):
        old, new = ({k: v for k, v in row.items() if not k.endswith("/seconds")} for row in (old, new))
        assert {k: v for k, v in old.items() if k not in timings} == {k: v for k, v in new.items() if k not in timings}


def load_weights(adapter):
    from safetensors.torch import load_file

    return load_file(adapter / "adapter_model.safetensors")


def test_an_earlier_run_is_not_overwritten_unasked(finished, quick):
    before = snapshot(finished.folder)
    with pytest.raises(UsageError, match="already contains a run"):
        run(load_recipe("quickstart", quick).recipe)
    assert snapshot(finished.folder) == before


@pytest.mark.parametrize(
    ("override", "error", "says"),
    [
        ("model.name=./nowhere", UsageError, "model.name"),
        ("data.source=nowhere.jsonl", UsageError, "nowhere.jsonl"),
        ("data.columns={prompt: prompt, answer: anser}", UsageError, "there is no column `anser`"),
        ("rewards=[{name: 'nowhere.py:f'}]", UsageError, "nowhere.py"),
        ("rewards=[{name: 'json:nothing'}]", UsageError, "has no `nothing`"),
        ("generation.engine=vllm", MachineError, "generation.engine"),
        ("training.extra={adam_beta: 1}", UsageError, "training.extra.adam_beta"),
        ("training.optim=nonsense", UsageError, "nonsense"),
        ("generation.max_prompt_length=2", UsageError, "up to 2 tokens"),
    ],
)
def test_what_is_wrong_leaves_an_earlier_run_untouched(finished, quick, override, error, says):
    before = snapshot(finished.folder)
    with pytest.raises(error) as caught:
        run(load_recipe("quickstart", [*quick, "output.if_exists=overwrite", override]).recipe)
    assert says in str(caught.value)
    assert snapshot(finished.folder) == before


def test_a_reward_that_raises_stops_the_run_and_is_named(tmp_path, monkeypatch, quick, starter):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def broken(completions, **columns):\n    return [1 / 0 for _ in completions]\n")
    override = "rewards=[{name: 'mine.py:broken'}]"
    with pytest.raises(RewardError, match="broken"):
        run(load_recipe("quickstart", [*quick, override]).recipe)
    (event,) = rows_of(tmp_path / "runs" / "quickstart" / "events.jsonl")
    assert (event["step"], event["kind"]) == (0, "stopped")
    assert "broken" in event["text"]


def test_a_reward_whose_errors_are_skipped_trains_on_and_its_file_is_recorded(tmp_path, monkeypatch, quick, starter):
    monkeypatch.chdir(tmp_path)
    code = "def f(completions, **_):\n    return [1 / (len(c[0]['content']) % 2) for c in completions]\n"
    (tmp_path / "mine.py").write_text(code)
    override = "rewards=[{name: 'mine.py:f', on_error: skip}, {name: math_correct}]"
    folder = run(load_recipe("quickstart", [*quick, override]).recipe).folder
    first = rows_of(folder / "metrics.jsonl")[0]
    assert 0 < first["rewards/f/error_count"] == first["rewards/f/none_count"] < 32
    facts = json.loads((folder / "environment.json").read_text())
    assert facts["custom_rewards"] == {"f": hashlib.sha256(code.encode()).hexdigest()}
    for row in rows_of(folder / "completions.jsonl"):
        assert row["rewards"]["f"] == (1.0 if len(row["completion"]) % 2 else None)
        assert row["extracted"] is None or f"<answer>{row['extracted']}</answer>" in row["completion"]


def test_a_recipes_own_adapter_is_recorded_and_a_changed_one_is_not_resumed(tmp_path, monkeypatch, quick, starter):
    monkeypatch.chdir(tmp_path)
    code = 'def twice(row):\n    return {"prompt": row["question"], "answer": 2 * int(row["answer"])}\n'
    (tmp_path / "mine.py").write_text(code)
    sets = [*quick, "data.adapter=mine.py:twice", "training.save_steps=4"]
    folder = run(load_recipe("quickstart", sets).recipe).folder
    sample = rows_of(folder / "completions.jsonl")[0]
    assert int(sample["answer"]) == 2 * sum(
        int(word) for word in re.findall(r"[0-9]+", sample["prompt"][-1]["content"])
    )
    facts = json.loads((folder / "environment.json").read_text())
    assert facts["custom_adapter"] == {"twice": hashlib.sha256(code.encode()).hexdigest()}
    (tmp_path / "mine.py").write_text(code + "# changed\n")
    longer = load_recipe("quickstart", [*sets, "training.max_steps=8"]).recipe
    with pytest.raises(UsageError, match="the file of `twice` changed"):
        run(longer, resume=True)


def test_a_checkpoint_is_resumed_and_metrics_continue(tmp_path, monkeypatch, quick, starter):
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("quickstart", [*quick, "training.save_steps=4"]).recipe
    folder = run(recipe).folder
    longer = load_recipe("quickstart", [*quick, "training.save_steps=4", "training.max_steps=8"]).recipe
    times = folder / "environment.json"
    before = json.loads(times.read_text())["seconds"]
    result = run(longer, resume=True)
    rows = rows_of(result.folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 9))
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert 0 < seconds[4] - seconds[3] < rows[4]["time"] - rows[3]["time"]  # the time between the two does not count
    after = json.loads(times.read_text())["seconds"]
    assert after["train"] == pytest.approx(seconds[-1], abs=0.05)
    assert after["load"] > before["load"]
    assert after["evaluate before"] == pytest.approx(before["evaluate before"], abs=0.2)  # kept, not measured again
    assert "8 steps in 0:" in result.summary
    assert "(resumed once)" in result.summary


def test_the_command_line_runs_without_a_network(tmp_path, quick, starter):
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces here")
    sets = [part for override in quick for part in ("--set", override)]
    command = [unshare, "-rn", sys.executable, "-m", "gspo_lite", "run", "quickstart", *sets]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_HUB")}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not GSM8K.is_dir(), reason="the GSM8K rows are not here")
def test_gsm8k_runs_to_the_end_on_the_tiny_model(tmp_path, monkeypatch, starter):
    monkeypatch.chdir(tmp_path)
    overrides = [
        "model.name=starter",
        "model.backend=transformers",
        f"data.source={GSM8K / 'train.jsonl'}",
        f"data.eval.source={GSM8K / 'test.jsonl'}",
        "data.eval.limit=8",
        "training.max_steps=4",
        "generation.max_completion_length=64",
        "training.per_device_train_batch_size=8",
        "training.gradient_accumulation_steps=1",
        "training.steps_per_generation=4",
    ]
    result = run(load_recipe("gsm8k_gspo", overrides).recipe)
    assert {path.name for path in result.folder.iterdir()} >= FILES
    assert len(rows_of(result.folder / "metrics.jsonl")) == 4
