"""Recipes that are wrong, each in one way: refused with exit code 2 and a message that names key and line."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from gspo_lite import load_recipe
from gspo_lite.errors import UsageError

GOOD = """\
model:
  name: starter
  load_in_4bit: false
  max_seq_length: 128
  lora: {rank: 8, alpha: 16, dropout: 0.0}
data:
  source: arithmetic
  prompt: think_answer
  eval: {split: test, limit: 50}
rewards:
  - name: math_correct
    weight: 1.0
objective:
  algorithm: gspo
  loss_type: grpo
  epsilon: 3.0e-4
  epsilon_high: 4.0e-4
  beta: 0.0
generation:
  engine: transformers
  num_generations: 8
  max_prompt_length: 64
  max_completion_length: 48
training:
  max_steps: 4
  learning_rate: 3.0e-4
  per_device_train_batch_size: 8
  gradient_accumulation_steps: 1
  steps_per_generation: 4
output:
  dir: runs/x
"""

TOKENS = ("algorithm=grpo", "epsilon=0.2", "epsilon_high=null")
# what is replaced, by what, the line that is named, and what the message says
BROKEN = [
    ("  name: starter", "  nmae: starter", 2, ["model.nmae", "did you mean `name`"]),
    ("  name: starter", "  3: 1", 2, ["`3` is not text"]),
    ("model:\n", "modell:\n", 1, ["modell", "did you mean `model`"]),
    ("  name: starter\n", "", 1, ["model.name", "missing"]),
    ("  max_seq_length: 128", "  max_seq_length: '128'", 4, ["model.max_seq_length", "`128`", "whole number"]),
    ("  max_seq_length: 128", "  max_seq_length: 0128", 4, ["0128", "octal"]),
    ("  max_seq_length: 128", "  max_seq_length: 12.5", 4, ["12.5", "whole number"]),
    ("  max_seq_length: 128", "  max_seq_length: 100", 4, ["max_prompt_length + max_completion_length = 112"]),
    ("  load_in_4bit: false", "  load_in_4bit: no", 3, ["load_in_4bit", "`no`", "true or false"]),
    ("  load_in_4bit: false", "  load_in_4bit: 1", 3, ["load_in_4bit", "`1`", "true or false"]),
    ("rank: 8", "rank: 0", 5, ["model.lora.rank", "at least 1"]),
    ("dropout: 0.0", "dropout: 1.5", 5, ["model.lora.dropout", "at most 1"]),
    ("dropout: 0.0", "dropout: 0.0, target: x", 5, ["model.lora.target", "target_modules"]),
    ("  source: arithmetic", "  source: ''", 7, ["data.source"]),
    ("  source: arithmetic", "  source: [a]", 7, ["data.source", "text"]),
    ("  prompt: t", "  adapter: gsm8\n  prompt: t", 8, ["data.adapter", "`gsm8`", "math, countdown", "`gsm8k`?"]),
    ("  prompt: t", "  adapter: no_such.py:f\n  prompt: t", 8, ["data.adapter", "no file `no_such.py`"]),
    ("  prompt: t", "  adapter: a:b c\n  prompt: t", 8, ["data.adapter", "not of the form `module:function`"]),
    ("think_answer", "think_answr", 8, ["data.prompt", "did you mean `think_answer`"]),
    ("  prompt: t", "  marker: bxed\n  prompt: t", 8, ["data.marker", "`bxed`", "did you mean `boxed`"]),
    ("  prompt: t", "  marker: {regx: a}\n  prompt: t", 8, ["data.marker.regx", "did you mean `regex`"]),
    (
        "  prompt: t",
        "  marker: {regex: '(a'}\n  prompt: t",
        8,
        ["found `(a`; is not a regular expression: missing )"],
    ),
    ("  prompt: t", "  marker: {prefix: A, regex: b}\n  prompt: t", 8, ["data.marker", "exactly one of"]),
    ("  prompt: t", "  marker: {tags: [<a>]}\n  prompt: t", 8, ["data.marker.tags", "at least 2 of them"]),
    ("  prompt: t", "  marker: {tags: [<a>, <a>]}\n  prompt: t", 8, ["data.marker.tags", "two different tags"]),
    ("  prompt: t", "  marker: [tag]\n  prompt: t", 8, ["data.marker", "allowed: a mapping"]),
    (
        "  prompt: t",
        "  marker: gsm8k\n  prompt: t",
        8,
        ["data.marker", "is not where", "system_prompt"],
    ),
    (
        "  prompt: t",
        "  marker: {prefix: 'A:'}\n  prompt: t",
        8,
        ["data.marker", "data.prompt to `plain`"],
    ),
    ("  prompt: t", "  thinking: thnk\n  prompt: t", 8, ["data.thinking", "`thnk`", "did you mean `think`"]),
    ("  prompt: t", "  thinking: [<a>]\n  prompt: t", 8, ["data.thinking", "at least 2 of them"]),
    ("  prompt: t", "  thinking: [<a>, <b>, <c>]\n  prompt: t", 8, ["data.thinking", "at most 2"]),
    ("  prompt: t", "  thinking: [<a>, 3]\n  prompt: t", 8, ["data.thinking.1", "allowed: text"]),
    ("  prompt: t", "  system_prompt: [a]\n  prompt: t", 8, ["data.system_prompt", "allowed: text"]),
    ("limit: 50", "limit: -1", 9, ["data.eval.limit", "at least 1"]),
    ("  - name: math_correct", "  - name: math_corect", 11, ["rewards.0.name", "did you mean `math_correct`"]),
    ("  - name: math_correct", "  - name: no_such.py:f", 11, ["rewards.0.name", "no file `no_such.py`"]),
    ("  - name: math_correct", "  - nam: math_correct", 11, ["rewards.0.nam", "did you mean `name`"]),
    ("    weight: 1.0", "    weight: .nan", 12, ["rewards.0.weight", "finite"]),
    ("    weight: 1.0", "    weight: 0.0", 10, ["rewards", "sum to 0"]),
    ("    weight: 1.0", "    options: {marker: tga}", 12, ["rewards.0.options", "marker"]),
    (
        "    weight: 1.0",
        "    options: {marker: boxed}",
        12,
        [
            "`rewards.0.options.marker`: `boxed` contradicts data.prompt `think_answer`",
            "Set it to `tag`, or data.prompt to `boxed`",
        ],
    ),
    (
        "    weight: 1.0",
        "    options: {marker: {regex: '['}}",
        12,
        ["option `marker.regex`", "is not a regular"],
    ),
    ("    weight: 1.0", "    options: {thinking: resoning}", 12, ["option `thinking`", "did you mean `reasoning`"]),
    (
        "    weight: 1.0",
        "    options: {thinking: gemma}",
        12,
        ["`gemma` contradicts data.thinking `think`"],
    ),
    ("    weight: 1.0", "    credit: {regex: '['}", 12, ["rewards.0.credit.regex", "not a regular expression"]),
    ("    weight: 1.0", "    options: {tolerance: 1}", 12, ["tolerance", "unknown"]),
    ("    weight: 1.0", "    credit: answer", 12, ["rewards.0.credit", "gspo_token"]),
    ("    weight: 1.0", "    credit: anser", 12, ["rewards.0.credit"]),
    ("    weight: 1.0", "    credit: {turn: frist}", 12, ["rewards.0.credit"]),
    ("    weight: 1.0", "  - name: math_correct", 12, ["2 times"]),
    ("  algorithm: gspo", "  algorithm: gpso", 14, ["objective.algorithm", "did you mean `gspo`"]),
    ("  algorithm: gspo", "  algorithm: grpo", 16, ["objective.epsilon", "GSPO's size"]),
    ("  loss_type: grpo", "  loss_type: dapo", 15, ["objective.loss_type", "long completions outweigh"]),
    ("  epsilon: 3.0e-4", "  epsilon: 0.2", 16, ["objective.epsilon", "GRPO's size"]),
    ("  epsilon: 3.0e-4", "  epsilon: -3.0e-4", 16, ["objective.epsilon", "above 0"]),
    ("  epsilon: 3.0e-4", "  epsilon: .inf", 16, ["objective.epsilon", "finite"]),
    ("  epsilon: 3.0e-4", "  epsilon: 3.0e-4\n  epsilon: 3.0e-4", 17, ["`epsilon` occurs twice", "line 16"]),
    ("  beta: 0.0", "  beta: -0.1", 18, ["objective.beta", "at least 0"]),
    ("  beta: 0.0", "  delta: 1.0001", 18, ["objective.delta", "above 1 + epsilon_high"]),
    ("  engine: transformers", "  engine: vlm", 20, ["generation.engine", "did you mean `vllm`"]),
    ("  num_generations: 8", "  num_generations: 1", 21, ["generation.num_generations", "at least 2"]),
    ("  num_generations: 8", "  num_generations: 7", 21, ["must divide the rollout", "32"]),
    ("  num_generations: 8", "  sample_factor: 0", 21, ["generation.sample_factor", "at least 1"]),
    ("  num_generations: 8", "  oversample: 1", 21, ["unknown key", "it is `generation.sample_factor`"]),
    ("  max_steps: 4", "  max_steps: !!int 4", 25, ["tags are not allowed"]),
    ("  max_steps: 4", "  max_steps: !!python/object/apply:os.system [id]", 25, ["tags are not allowed"]),
    ("  learning_rate: 3.0e-4", "  learning_rate: fast", 26, ["training.learning_rate", "a number"]),
    ("  steps_per_generation: 4", "  steps_per_generation: 1", 29, ["GSPO has no effect"]),
    (
        "  gradient_accumulation_steps: 1",
        "  gradient_accumulation_steps: 3",
        29,
        ["multiple of gradient_accumulation_steps"],
    ),
    ("  steps_per_generation: 4", "  steps_per_generation: 4\n  extra: {epsilon: 1}", 30, ["objective.epsilon"]),
    ("  steps_per_generation: 4", "  steps_per_generation: 4\n  extra: {use_cpu: true}", 30, ["gspo-lite itself"]),
    ("  dir: runs/x", "  dir: ../../elsewhere", 31, ["output.dir", "--allow-outside"]),
    ("  dir: runs/x", "  dir: runs/x\n  report_to: [none, wandb]", 32, ["output.report_to", "`none`"]),
    ("  dir: runs/x", "  dir: runs/x\n  report_to: wandb", 32, ["output.report_to", "a list"]),
    ("  dir: runs/x", "  dir: &a runs/x", 31, ["anchors and aliases"]),
    ("  dir: runs/x", "  dir: runs/x\n bad", 32, ["not YAML"]),
    ("  dir: runs/x", "\tdir: runs/x", 31, ["not YAML"]),
]


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "r.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(path, overrides=()):
    began = time.process_time()
    with pytest.raises(UsageError) as caught:
        load_recipe(str(path), overrides)
    assert time.process_time() - began < 1
    assert caught.value.exit_code == 2
    return caught.value.message


def test_the_recipe_they_are_made_from_is_good(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load_recipe(str(write(tmp_path, GOOD)))
    assert loaded.recipe.objective.epsilon == 3e-4
    assert loaded.warnings == []


def test_there_are_forty_of_them():
    assert len(BROKEN) >= 40


@pytest.mark.parametrize(("good", "bad", "line", "says"), BROKEN, ids=[f"{i:02d}" for i in range(len(BROKEN))])
def test_a_broken_recipe_is_refused_by_line_and_key(tmp_path, monkeypatch, good, bad, line, says):
    monkeypatch.chdir(tmp_path)
    assert GOOD.count(good) >= 1
    message = refused(write(tmp_path, GOOD.replace(good, bad, 1)))
    assert f"r.yaml:{line}: " in message
    for words in says:
        assert words in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds nothing"),
        ("- a\n- b\n", "holds a list"),
        ("[" * 20_000, "nested more than"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "anchors and aliases"),
        (b"model: \xff\xfe", "not UTF-8"),
        ("x: " + "y" * 300_000, "at most 262144"),
        ("a: {b: [1, 2}", "not YAML"),
        ("? [a, b]\n: c\n", "r.yaml"),
        ("1: 2\n", "r.yaml"),
    ],
)
def test_what_is_no_recipe_at_all_is_refused(tmp_path, text, says):
    assert says in refused(write(tmp_path, text))


def test_all_problems_come_in_one_message(tmp_path):
    text = GOOD.replace("rank: 8", "rank: 0").replace("max_steps: 4", "max_stepz: 4").replace("beta: 0.0", "beta: x")
    message = refused(write(tmp_path, text))
    assert [line.split(": ")[0].rsplit(":", 1)[1] for line in message.splitlines()] == ["5", "18", "24", "25"]


def test_all_contradictions_come_in_one_message(tmp_path):
    text = GOOD.replace("epsilon: 3.0e-4", "epsilon: 0.2", 1).replace("loss_type: grpo", "loss_type: dapo")
    assert len(refused(write(tmp_path, text)).splitlines()) == 2


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("4=x", ["--set 4=x: `4`: found `4`", "keys should be strings"]),
        ("training.max_stepz=4", ["--set training.max_stepz=4", "did you mean `max_steps`"]),
        ("trainin.max_steps=4", ["--set trainin.max_steps=4", "did you mean `training`"]),
        ("training.max_steps", ["not of the form"]),
        ("=4", ["not of the form"]),
        ("training.max_steps=four", ["--set training.max_steps=four", "whole number"]),
        ("training.max_steps.x=4", ["has no `x`"]),
        ("rewards.3.weight=1", ["no `rewards.3`"]),
        ("rewards.0.weight=[", ["not YAML"]),
        ("objective.epsilon=0.2", ["--set objective.epsilon=0.2", "GRPO's size"]),
        ("output.dir=!!python/name:os.system", ["tags are not allowed"]),
    ],
)
def test_a_broken_override_is_named_as_it_was_typed(tmp_path, override, says):
    message = refused(write(tmp_path, GOOD), [override])
    for words in says:
        assert words in message


def test_the_command_line_exits_with_2_and_no_traceback(tmp_path):
    path = write(tmp_path, GOOD.replace("rank: 8", "rank: 0"))
    command = [sys.executable, "-m", "gspo_lite", "check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "r.yaml:5: `model.lora.rank`: found `0`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (["loss_type=cispo"], ["objective.loss_type", "`cispo` replaces GSPO's clip", "objective.algorithm to `grpo`"]),
        (["loss_type=sapo", "algorithm=gspo_token"], ["objective.loss_type", "`sapo` replaces GSPO's clip"]),
        (["loss_type=vespo"], ["objective.loss_type", "`vespo` replaces GSPO's clip"]),
        ([*TOKENS, "loss_type=cispo"], ["objective.epsilon_high", "below 1 it cuts every ratio"]),
        ([*TOKENS, "loss_type=cispo", "epsilon_high=0.99"], ["objective.epsilon_high", "below 1 it cuts every ratio"]),
        ([*TOKENS, "loss_type=cispo", "epsilon_high=5", "delta=9"], ["objective.delta", "no effect on `cispo`"]),
        ([*TOKENS, "loss_type=sapo", "delta=9"], ["objective.delta", "no effect on `sapo`"]),
        ([*TOKENS, "loss_type=cipso"], ["objective.loss_type", "'cispo', 'sapo' or 'vespo'"]),
    ],
)
def test_losses_of_their_own_go_with_token_ratios(tmp_path, sets, says):
    message = refused(write(tmp_path, GOOD), [f"objective.{one}" for one in sets])
    for words in says:
        assert words in message


@pytest.mark.parametrize("sets", [["loss_type=cispo", "epsilon_high=5"], ["loss_type=sapo"], ["loss_type=vespo"]])
def test_losses_of_their_own_are_recipes_of_grpo(tmp_path, monkeypatch, sets):
    monkeypatch.chdir(tmp_path)
    loaded = load_recipe(str(write(tmp_path, GOOD)), [f"objective.{one}" for one in (*TOKENS, *sets)])
    assert loaded.warnings == []
    assert loaded.recipe.objective.importance_sampling_level == "token"
