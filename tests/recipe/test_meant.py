"""Keys and values of a recipe that other trainers have elsewhere or under another name: the message says where."""

import pytest

from gspo_lite import load_recipe
from gspo_lite.errors import UsageError
from tests.recipe.test_broken_recipes import GOOD

STEPS = "  max_steps: 4"
# what is replaced, by what, and what the message says about it
ELSEWHERE = [
    (STEPS, "  num_train_epochs: 1", "`training.num_train_epochs`: unknown key: training.max_steps counts optimizer"),
    (STEPS, "  max_steps: 4\n  num_epochs: 2", "epochs x rows x num_generations x num_iterations /"),
    (STEPS, "  max_steps: 4\n  epsilon: 0.2", "`training.epsilon`: unknown key; it is `objective.epsilon`"),
    (STEPS, "  max_steps: 4\n  adam_beta1: 0.9", "it is `training.extra.adam_beta1`"),
    (STEPS, "  max_steps: 4\n  batch_size: 8", "it is `training.per_device_train_batch_size`"),
    (STEPS, "  max_steps: 4\n  report_to: [wandb]", "it is `output.report_to`"),
    (STEPS, "  max_steps: 4\n  logging_steps: 1", "unknown key: every optimizer step is logged"),
    (STEPS, "  max_steps: 4\n  warmup_ratio: 0.1", "it is `training.warmup_steps`"),
    (STEPS, "  max_steps: 4\n  temperature: 0.1", "it is `generation.temperature`"),
    (STEPS, "  max_steps: 4\n  hub_token: abc", "must not hold secrets; set HF_TOKEN"),
    ("model:\n", "learning_rate: 1e-6\nmodel:\n", "`learning_rate`: unknown key; it is `training.learning_rate`"),
    ("model:\n", "lora: {rank: 4}\nmodel:\n", "`lora`: unknown key; it is `model.lora`"),
    ("model:\n", "eval: {limit: 4}\nmodel:\n", "`eval`: unknown key; it is `data.eval`"),
    ("model:\n", "split: train\nmodel:\n", "it is `data.split` or `data.eval.split` or `warmup.split`"),
    ("model:\n", "max_step: 4\nmodel:\n", "did you mean `training.max_steps`?"),
    ("model:\n", "weight: 4\nmodel:\n", "it is `rewards.N.weight`"),
    ("  name: starter", "  model_name_or_path: starter", "it is `model.name`"),
    ("  name: starter", "  name: starter\n  torch_dtype: auto", "it is `model.dtype`"),
    ("  name: starter", "  name: starter\n  attn_implementation: sdpa", "unknown key: is chosen for the machine"),
    ("rank: 8", "r: 8", "`model.lora.r`: unknown key; it is `model.lora.rank`"),
    ("  source: arithmetic", "  dataset_name: arithmetic", "it is `data.source`"),
    ("  beta: 0.0", "  kl_coef: 0.0", "it is `objective.beta`"),
    ("  engine: transformers", "  max_new_tokens: 64", "it is `generation.max_completion_length`"),
    ("  engine: transformers", "  vllm_server_host: x", "with a server of its own see docs/scaling.md"),
    ("  dir: runs/x", "  dir: runs/x\n  push_to_hub: true", "unknown key: nothing is uploaded"),
    ("loss_type: grpo", "loss_type: gspo", "`gspo` belongs to `objective.algorithm`"),
    ("algorithm: gspo", "algorithm: dapo", "`dapo` belongs to `objective.loss_type`"),
    ("engine: transformers", "engine: unsloth", "`unsloth` belongs to `model.backend`"),
    ("engine: transformers", "engine: auto2", "did you mean `auto`?"),  # a value of several fields
]
NAMED = "  - name: math_correct\n    weight: 1.0\n"
REWARDS = [
    (NAMED, "  - accuracy_reward\n", "`rewards.0`: found `accuracy_reward`; write `- name: math_correct`"),
    (NAMED, "  - format\n", "write `- name: think_format`"),
    (NAMED, "  - my_lib.my_reward\n", "write `- name: my_lib:my_reward`"),
    (NAMED, "  - trl.rewards.accuracy_reward\n", "write `- name: math_correct`"),
    (NAMED, "  - numeric_match\n", "write `- name: numeric_match`"),
    (NAMED, "  - math_correct: 1.0\n", "`rewards.0.math_correct`: unknown key; write `- name: math_correct`"),
    ("rewards:\n" + NAMED, "rewards: accuracy\n", "`rewards`: found `accuracy`; write `- name: math_correct`"),
    ("rewards:\n" + NAMED, "rewards: {cosine: 1}\n", "write a list: `- name: cosine_length`"),
    ("math_correct", "my_lib.sub.my_reward", "there is no reward `my_lib.sub.my_reward`; write `my_lib.sub:my_reward`"),
    ("math_correct", "accuracy_reward", "there is no reward `accuracy_reward`; write `math_correct`"),
    ("math_correct", "get_soft_overlong_punishment", "write `soft_overlong`"),
    ("math_correct", "my_lib.py::my_reward", "not of the form `module:function` or `file.py:function`"),
    (
        "  prompt: t",
        "  adapter: my_rows.problem\n  prompt: t",
        "there is no adapter `my_rows.problem`; write `my_rows:",
    ),
]


@pytest.mark.parametrize(("good", "bad", "says"), ELSEWHERE + REWARDS, ids=lambda text: text.strip()[:40])
def test_a_key_or_value_of_elsewhere_is_told_its_place(tmp_path, good, bad, says):
    path = tmp_path / "r.yaml"
    assert good in GOOD
    path.write_text(GOOD.replace(good, bad, 1))
    with pytest.raises(UsageError) as caught:
        load_recipe(str(path))
    assert says in caught.value.message
    assert "num_iterations`?" not in caught.value.message


def test_a_value_of_several_fields_belongs_to_none(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(GOOD.replace("name: starter", "name: starter\n  dtype: transformers"))
    with pytest.raises(UsageError) as caught:
        load_recipe(str(path))
    assert caught.value.message.endswith("allowed: 'auto', 'float32', 'bfloat16' or 'float16'")


def test_a_key_whose_place_is_known_needs_no_list_of_what_is_allowed(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(f"learning_rate: 1e-6\n{GOOD}")
    with pytest.raises(UsageError) as caught:
        load_recipe(str(path))
    assert caught.value.message == f"{path}:1: `learning_rate`: unknown key; it is `training.learning_rate`"


def test_one_key_of_elsewhere_makes_no_foreign_file(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(f"learning_rate: 1e-6\nreport_to: none\nnum_train_epochs: 3\n{GOOD}")
    with pytest.raises(UsageError) as caught:
        load_recipe(str(path))
    assert len(caught.value.message.splitlines()) == 3


def test_foreign_keys_beside_fewer_sections_make_a_foreign_file(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("model: {name: starter}\nlearning_rate: 1e-6\nnum_train_epochs: 3\n")
    with pytest.raises(UsageError, match="is the configuration of another trainer"):
        load_recipe(str(path))
