"""Every name of another library that training stands on: taken away, it ends the start with an error that names it."""

import ast
import functools
import inspect
import re
import time
from pathlib import Path

import pytest
import transformers
from trl import GRPOTrainer

from gspo_lite import GSPOConfig, GSPOTrainer
from gspo_lite.errors import MachineError
from gspo_lite.rewards.contract.signature import BATCH, LIVE
from gspo_lite.training import build, hooks, levels
from gspo_lite.training.check_hooks import check_hooks, run_by, words
from gspo_lite.training.checkpoint.saving import Checkpoints
from gspo_lite.training.hooks import HOOKS, TRAINER
from gspo_lite.training.loss.rows import COMPLETION, PROMPT
from tests.training.removing_hooks import cases, take_away

PACKAGE = Path(hooks.__file__).resolve().parents[1]
CASES = list(cases("TRL", GRPOTrainer))
READ = [hook for hook in HOOKS if (hook.kind, hook.owner) == ("read", TRAINER)]
ATTRIBUTES = [(hook, name) for hook in READ for name in hook.names.split()]
SAID = {"absent": "is not there", "unused": "is no longer used", "changed": "(no longer takes|is written in another)"}
# Values of settings and words of our own that TRL's code has as well.
SPOKEN_BY_BOTH = {
    "", ".", "_", "advantage", "attention_mask", "bnpo", "cispo", "completion", "content", "dapo", "dr_grpo", "eval",
    "eval_", "extra", "group", "grpo", "input_ids", "luspo", "max", "min", "no", "prompt", "rewards", "role", "sapo",
    "sequence", "step", "token", "user", "vespo",
}  # fmt: skip
# They see no rollout.
ELSEWHERE = {"hooks", "selftest", "config", "levels", "warmup", "trackers", "examples", "evaluation"}
PROMPTS = ["2 + 2 =", "3 + 4 ="]


def length(completions, **columns):
    return [float(len(text)) for text in completions]


def config(folder, **options):
    return GSPOConfig(
        output_dir=str(folder), per_device_train_batch_size=2, num_generations=2, steps_per_generation=2, use_cpu=True,
        bf16=False, report_to="none", max_completion_length=4, disable_tqdm=True, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def args(tmp_path_factory):
    return config(tmp_path_factory.mktemp("run"))


def start(args):
    return GSPOTrainer("starter", length, args, PROMPTS)


@pytest.fixture(scope="module")
def built(args, starter):
    """A trainer, and the names of what it had when TRL had just built it."""
    seen = {}

    def note(trainer_class, trainer=None):
        if trainer is not None:
            seen.update(vars(trainer))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gspo_lite.training.trainer.check_hooks", note)
        return start(args), seen


def test_what_is_installed_has_every_hook_and_is_looked_at_in_no_time(built):
    began = time.process_time()
    check_hooks(GSPOTrainer, built[0])
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize(("hook", "name", "way"), CASES, ids=[f"{name} {way} {hook.why}" for hook, name, way in CASES])
def test_a_start_without_the_name_is_refused(args, monkeypatch, hook, name, way):
    take_away(monkeypatch, hook, name, way, GRPOTrainer)
    with pytest.raises(MachineError, match=r"training cannot hook into .* \(trl \d") as refused:
        start(args)
    wrong = rf"\.{re.escape(name)}` {SAID[way.split()[0]]}.*; it is needed to {re.escape(hook.why)}"
    assert re.search(wrong, refused.value.message)


@pytest.mark.parametrize(("hook", "name"), ATTRIBUTES, ids=[name for _, name in ATTRIBUTES])
def test_a_trainer_without_the_attribute_is_refused(args, monkeypatch, built, hook, name):
    @functools.wraps(GRPOTrainer.__init__)
    def build(self, *_, **__):
        vars(self).update({key: value for key, value in built[1].items() if key != name})

    monkeypatch.setattr(GRPOTrainer, "__init__", build)
    with pytest.raises(MachineError, match=rf"`GRPOTrainer\.{name}` is not there; it is needed to {hook.why}"):
        start(args)


def test_all_faults_are_said_at_once_and_by_doctor_too(monkeypatch):
    monkeypatch.delattr(transformers.Trainer, "_save")
    monkeypatch.delattr(GRPOTrainer, "_calculate_rewards")
    with pytest.raises(MachineError) as refused:
        levels.gaps_of_all_levels()
    faults = refused.value.message.splitlines()[1:]
    passed = [f"GRPOTrainer.{name}" for name in (*BATCH, *LIVE)]
    assert [line.split("`")[1] for line in faults] == ["GRPOTrainer._calculate_rewards", "GRPOTrainer._save", *passed]
    assert "hub token" in faults[1]


@pytest.mark.parametrize("way", ["checkpoint without `_save`", "adapter"])
def test_the_hub_token_reaches_no_folder(tmp_path, monkeypatch, starter, way):
    trainer = start(config(tmp_path, hub_token="hf_secret", max_steps=1, save_steps=1))
    if way == "adapter":
        trainer.save_model(str(tmp_path / "adapter"))
    else:
        monkeypatch.delattr(Checkpoints, "_save")
        trainer.train()
    assert list(tmp_path.rglob("model.safetensors"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"hf_secret" in path.read_bytes()]


def named(*kinds):
    return {name for hook in HOOKS if not kinds or hook.kind in kinds for name in hook.names.split()}


def test_every_method_that_is_overridden_is_in_the_table():
    ours = [one for one in GSPOTrainer.__mro__ if one.__module__.startswith("gspo_lite.")]
    for one in [*ours, *callbacks()]:
        behind = GRPOTrainer if one in ours else transformers.TrainerCallback
        functions = {name for name, value in vars(one).items() if inspect.isfunction(value) and hasattr(behind, name)}
        assert functions - {"__init__"} <= named("overridden"), one


def callbacks():
    assert build.Progress in transformers.TrainerCallback.__subclasses__()
    return [one for one in transformers.TrainerCallback.__subclasses__() if one.__module__.startswith("gspo_lite.")]


def test_every_attribute_of_the_trainer_that_is_used_is_in_the_table(built):
    theirs = {*built[1], *dir(GRPOTrainer)} - {"self_test", "tool_limits"}
    used = {name for path in files() for name in attributes(path)}
    assert {"_step", "_metrics", "_save", "epsilon_high"} <= used & theirs
    assert sorted((used & theirs) - named()) == []


def test_every_private_name_is_ours_or_in_the_table():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files()]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    ours = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    ours |= {
        ast.unparse(node.target).removeprefix("self.")
        for node in nodes
        if isinstance(node, ast.AnnAssign) and node.value
    }
    ours |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) != "torch"}
    private = {name for name in used if name.startswith("_") and not name.startswith("__")}
    assert sorted(private - ours - named()) == ["_gspo_lite_level"]  # our own mark on Unsloth's module


def test_every_key_and_figure_of_the_trainer_that_is_used_is_in_the_table():
    methods = ("_generate", hooks.SCORED, "_calculate_rewards", "_compute_loss", "_prepare_inputs", "log")
    theirs = {text for name in methods for one in run_by(GRPOTrainer, name) for text in strings(one)}
    paths = [path for path in files() if path.parent != PACKAGE / "models" and path.stem not in ELSEWHERE]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    ours = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert {*PROMPT, *COMPLETION, "entropy", "reward_std", "num_tokens"} <= named("key")
    assert sorted((theirs & ours) - named() - SPOKEN_BY_BOTH) == []


def strings(method):
    def of(code):
        for one in code.co_consts:
            inner = of(one) if inspect.iscode(one) else one if isinstance(one, tuple) else [one]
            yield from (text for text in inner if isinstance(text, str))

    return of(inspect.unwrap(method).__code__)


def test_what_a_method_wraps_counts_and_what_a_base_no_longer_runs_does_not():
    def inner(self):
        return self.used, [lambda: self.nested["key"] for _ in "a"]

    def closed(self):
        return inner(self)

    wrapped = functools.wraps(inner)(eval("lambda self: None"))  # no closure, as at the top of a module
    for method in (closed, wrapped):
        assert {"used", "nested", "key"} <= words(method)
    base = type("Base", (), {"run": inner})
    assert inner not in run_by(type("Live", (base,), {"run": lambda self: None}), "run")
    assert inner in run_by(type("Live", (base,), {"run": lambda self: super().run()}), "run")


def files():
    folders = PACKAGE / "training", PACKAGE / "models"
    return [*(path for folder in folders for path in folder.rglob("*.py")), PACKAGE / "evaluation.py"]


def attributes(path):
    """Names that a file reads of a trainer or, in a class, of itself or of what stands behind it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in (
            "self",
            "trainer",
            "self.trainer",
            "super()",
        ):
            yield node.attr
