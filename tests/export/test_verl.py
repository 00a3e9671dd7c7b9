"""What a recipe becomes on verl's command line, which verl's own release has to understand."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gspo_lite import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.export.verl import RELEASE, as_script, spelled, to_verl
from gspo_lite.recipe.shipped import shipped_recipes

CONFIGURATION = "verl/verl/trainer/config"
ACTOR, MODEL, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.model", "actor_rollout_ref.rollout"
NAMES = [
    "my model's $HOME", 'a "model" of `id`', "#1 of $(id), ${HOME} \\${x}", "C:\\models\\", 'back\\"slash', "[a,b]",
    "größe/模型 🙂", "null", "1e5", "True", " ~/a=b ", "nullify", "-1", "a\nb",
]  # fmt: skip
VARIANTS = {
    "gsm8k_gspo": [
        "objective.beta=0.04 objective.scale_rewards=none objective.delta=2 training.lr_scheduler_type=cosine",
        "objective.beta=1 objective.scale_rewards=batch generation.min_p=0.05 training.lr_scheduler_type=linear",
        "training.max_grad_norm=1 training.weight_decay=0 training.learning_rate=1.2345678e-7 generation.temperature=1",
        "training.save_steps=null training.warmup_steps=0 generation.top_k=50 generation.top_p=1 model.dtype=bfloat16",
        "model.full_finetuning=true model.load_in_4bit=false output.report_to=[wandb,tensorboard,trackio]",
        "model.lora.target_modules=[q_proj,v_proj]",
    ],
    "gsm8k_grpo": ["objective.delta=2", *(f"objective.loss_type={one}" for one in ("bnpo", "dapo", "dr_grpo"))],
}  # fmt: skip
# Values out of a list of verl's, and the source file of verl that holds the list.
OF_A_LIST = {
    "algorithm.adv_estimator": "trainer/ppo/core_algos.py", f"{ACTOR}.kl_loss_type": "trainer/ppo/core_algos.py",
    f"{ACTOR}.policy_loss.loss_mode": "trainer/ppo/core_algos.py", f"{ACTOR}.loss_agg_mode": "workers/config/actor.py",
    f"{ACTOR}.optim.lr_scheduler_type": "workers/engine/fsdp/transformer_impl.py",
    f"{ROLLOUT}.name": "workers/rollout/base.py", "trainer.logger": "utils/tracking.py",
}  # fmt: skip
# Keys whose default is null and that no dataclass of verl declares.
UNDECLARED = {
    "data.seed": "int", "trainer.total_training_steps": "int", "reward.custom_reward_function.path": "str",
    "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu": "int",
}  # fmt: skip
ALLOWED = {"Optional[int]": ["int"], "Optional[str]": ["str"], "Optional[Any]": ["str", "list"]}


def handed(name="gsm8k_gspo", *overrides, gpus=8):
    return to_verl(load_recipe(name, overrides, with_data=False).recipe, gpus)


def written(value):
    """Return a value as --set takes it."""
    return json.dumps(value, ensure_ascii=False)


def received(handover, folder, recipe_name="gsm8k_gspo"):
    """Return what verl gets when bash runs the script, with a python3 that prints its arguments."""
    python = folder / "python3"
    python.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    python.chmod(0o755)
    script = folder / "run.sh"
    script.write_text(as_script(handover, recipe_name))
    environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "HOME": "/home/somebody"}
    done = subprocess.run(["bash", script], env=environment, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    *words, end = done.stdout.split("\0")
    assert (words[:2], end) == (["-m", "verl.trainer.main_ppo"], "")
    return words[2:]


def test_the_objective_is_gspo_with_its_clip():
    settings = handed().settings
    assert settings[f"{ACTOR}.policy_loss.loss_mode"] == "gspo"
    assert settings[f"{ACTOR}.loss_agg_mode"] == "seq-mean-token-mean"
    assert (settings[f"{ACTOR}.clip_ratio_low"], settings[f"{ACTOR}.clip_ratio_high"]) == (3e-4, 4e-4)
    assert handed("gsm8k_grpo").settings[f"{ACTOR}.policy_loss.loss_mode"] == "vanilla"
    assert handed("gsm8k_grpo", "objective.delta=2").settings[f"{ACTOR}.clip_ratio_c"] == 2.0
    assert handed("gsm8k_grpo").settings[f"{ACTOR}.clip_ratio_c"] > 1e6


def test_counts_are_prompts_and_steps_are_rollouts():
    batches = ["training.per_device_train_batch_size=8", "training.gradient_accumulation_steps=4"]
    more = [*batches, "training.steps_per_generation=16", "training.max_steps=500", "training.save_steps=100"]
    settings = handed("gsm8k_gspo", *more, "training.warmup_steps=10").settings
    assert settings["data.train_batch_size"] == 8 * 16 // 8  # completions a rollout over a group of 8
    assert settings[f"{ACTOR}.ppo_mini_batch_size"] == 8 * 4 // 8
    assert settings["trainer.total_training_steps"] == settings["trainer.total_epochs"] == 500 // 4
    assert settings["trainer.save_freq"] == 100 // 4
    assert settings[f"{ACTOR}.optim.lr_warmup_steps"] == 3  # 10 of 4 updates each, rounded up


@pytest.mark.parametrize(("gpus", "micro_batch"), [(1, 8), (2, 8), (4, 4), (8, 2), (16, 1)])
def test_a_gpus_share_of_an_update_is_whole_micro_batches(gpus, micro_batch):
    settings = handed("gsm8k_gspo", gpus=gpus).settings  # 16 completions an update, 8 at a time
    assert settings[f"{ACTOR}.ppo_micro_batch_size_per_gpu"] == micro_batch
    assert settings[f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu"] == micro_batch
    assert settings["actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu"] == micro_batch


def test_an_update_that_verl_cannot_split_is_refused():
    with pytest.raises(UsageError, match="4 completions, which cannot be split into groups of 8"):
        handed("gsm8k_gspo", "training.per_device_train_batch_size=4", "training.gradient_accumulation_steps=1")
    with pytest.raises(UsageError, match="16 completions, which cannot be split into equal shares for 3 GPUs"):
        handed("gsm8k_gspo", gpus=3)


def test_what_stays_behind_is_said():
    plain, token = handed().left_behind, handed("gsm8k_gspo_token").left_behind
    assert any("advantages per token" in line for line in token)
    assert not any("advantages per token" in line for line in plain)
    assert any("4 or 8 bits" in line for line in plain)
    assert any("warm-up" in line for line in handed("quickstart_warmup").left_behind)
    assert any("delta" in line for line in handed("gsm8k_gspo", "objective.delta=2").left_behind)
    assert not any("delta" in line for line in handed("gsm8k_grpo", "objective.delta=2").left_behind)
    assert any("sample_factor" in line for line in handed("gsm8k_gspo", "generation.sample_factor=2").left_behind)
    variables = "model.chat_template_kwargs={enable_thinking: false}"
    assert any("chat_template" in line for line in handed("gsm8k_gspo", variables).left_behind)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-06, "1e-06"), (1.0, "1.0"), (0.123456789, "0.123456789"), (True, "True"), (8, "8"),
        ("Qwen/Qwen3-4B_x.y", "Qwen/Qwen3-4B_x.y"), ("my model's $x", '"my model\'s $x"'), ('a"b', r'"a\"b"'),
        ("a${b}", r'"a\${b}"'), ("a\\", r'"a\\"'), ("null", '"null"'), ("7", '"7"'), ("all-linear", "all-linear"),
        (["q", "a b"], '[q,"a b"]'),
    ],
)  # fmt: skip
def test_values_are_spelled_for_hydra(value, text):
    assert spelled(value) == text


@pytest.mark.parametrize("name", NAMES)
def test_values_survive_the_shell(name, tmp_path):
    handover = handed("gsm8k_moe", f"model.name={written(name)}")
    assert handover.settings[f"{MODEL}.path"] == name
    assert received(handover, tmp_path) == [f"{key}={spelled(value)}" for key, value in handover.settings.items()]


def test_nothing_breaks_out_of_a_comment(tmp_path):
    command = "\ntouch made\r\x1b[2J"
    handover = handed("gsm8k_gspo", f"data.source={written('openai/' + command)}")
    assert any("touch made" in line for line in handover.left_behind)
    assert len(received(handover, tmp_path, f"recipes/x{command}.yaml")) == len(handover.settings)
    assert not (tmp_path / "made").exists()
    assert "\x1b" not in (tmp_path / "run.sh").read_text()


def test_the_command_prints_it():
    command = [sys.executable, "-m", "gspo_lite", "export-config", "quickstart_token", "--to", "verl", "--gpus", "2"]
    hostile = ["--set", 'data.source="arith\\e[2Jmetic"']
    done = subprocess.run([*command, *hostile], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "trainer.n_gpus_per_node=2" in done.stdout
    assert "credit and advantages per token" in done.stderr
    assert "arith?[2Jmetic" in done.stderr


@pytest.fixture(scope="module")
def verl(tmp_path_factory):
    """A folder with verl's files, whose code is not run, and one with Hydra, which no other environment sees."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv, which fetches verl, is not here")
    folder = tmp_path_factory.mktemp("verl")
    wheel_only = ["--no-deps", "--only-binary", ":all:"]
    for place, options in (("verl", [*wheel_only, f"verl=={RELEASE}"]), ("hydra", ["hydra-core>=1.3,<1.4"])):
        command = [uv, "pip", "install", "--quiet", "--target", folder / place, *options]
        fetched = subprocess.run(command, capture_output=True, text=True)
        if fetched.returncode:
            pytest.skip(f"{options[-1]} cannot be fetched: {fetched.stderr.strip()[-200:]}")
    return folder


@pytest.fixture(scope="module")
def composed(verl):
    """For every shipped recipe and variant its settings and what verl makes of them; and verl's defaults."""
    cases = [handed(name) for name in shipped_recipes()]
    cases += [handed(name, *one.split()) for name, variants in VARIANTS.items() for one in variants]
    cases += [handed("gsm8k_moe", f"model.name={written(one)}") for one in NAMES[:3]]
    cases += [handed("gsm8k_moe", f"model.lora.target_modules={written(NAMES)}")]
    asked = {"folder": str(verl / CONFIGURATION), "command_lines": [received(one, verl) for one in cases]}
    command = [sys.executable, "-S", Path(__file__).with_name("compose_verl.py")]
    environment = {"PYTHONPATH": str(verl / "hydra")}
    done = subprocess.run(command, input=json.dumps(asked), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout)
    return [one.settings for one in cases], answer["composed"], answer["defaults"]


@pytest.mark.slow
def test_verl_composes_every_recipe_and_gets_our_values(composed):
    settings, values, _ = composed
    assert len(settings) > len(shipped_recipes()) > 10
    for ours, theirs in zip(settings, values, strict=True):
        pairs = zip(ours.values(), theirs, strict=True)
        assert [(type(value), value) for value, _ in pairs] == [(type(value), value) for value in theirs]


@pytest.mark.slow
def test_every_value_has_the_type_that_verl_declares(composed, verl):
    settings, _, defaults = composed
    declared = declarations(verl)
    for ours in settings:
        for key, value in ours.items():
            *parents, last = key.split(".")
            place = defaults
            for part in parents:
                place = place[part]
            target = place.get("_target_", "").rpartition(".")[2]
            kind = declared.get(target, {}).get(last) or UNDECLARED.get(key) or type(place[last]).__name__
            assert type(value).__name__ in ALLOWED.get(kind, [kind]), f"{key} is {value!r}, verl declares {kind}"


@pytest.mark.slow
def test_verl_reads_every_key(composed, verl):
    outside = [path for path in (verl / "verl/verl").rglob("*.py") if "config" not in path.parts]
    words = set(re.findall(r"\w+", "\n".join(path.read_text() for path in outside)))
    assert "grad_clip" not in words  # a key of the actor's that nothing reads; clip_grad is read
    keys = {key for ours in composed[0] for key in ours}
    assert [key for key in keys if key.rpartition(".")[2] not in words] == []


@pytest.mark.slow
@pytest.mark.parametrize(("key", "file"), OF_A_LIST.items())
def test_verl_has_every_name_in_its_list(composed, verl, key, file):
    source = (verl / "verl/verl" / file).read_text()
    values = [ours[key] for ours in composed[0]]
    names = {name for value in values for name in (value if isinstance(value, list) else [value])}
    assert [name for name in names if f'"{name}"' not in source] == []


def declarations(verl):
    """Return the annotated fields of verl's configuration classes by class, read and not imported."""
    files = [*(verl / "verl/verl/workers/config").glob("*.py"), *(verl / CONFIGURATION).glob("*.py")]
    classes = [node for file in files for node in ast.walk(ast.parse(file.read_text())) if type(node) is ast.ClassDef]
    own, bases = {}, {}
    for one in classes:
        fields = [field for field in one.body if type(field) is ast.AnnAssign]
        own[one.name] = {field.target.id: ast.unparse(field.annotation) for field in fields}
        bases[one.name] = [ast.unparse(base) for base in one.bases]

    def inherited(name):
        above = [inherited(base) for base in bases.get(name, [])]
        return {key: value for fields in [*above, own.get(name, {})] for key, value in fields.items()}

    return {name: inherited(name) for name in own}
