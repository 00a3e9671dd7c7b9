"""What a recipe becomes on verl's command line; the keys are those of its generated ppo_trainer.yaml at 01d4d766."""

import shlex
import subprocess
import sys

import pytest

from gspo_lite import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.export.verl import as_script, to_verl

KNOWN = {
    "data": "train_files val_files train_batch_size max_prompt_length max_response_length filter_overlong_prompts seed",
    "algorithm": "adv_estimator norm_adv_by_std_in_grpo use_kl_in_reward",
    "actor_rollout_ref.actor": "ppo_mini_batch_size ppo_micro_batch_size_per_gpu ppo_epochs clip_ratio clip_ratio_low "
    "clip_ratio_high loss_agg_mode entropy_coeff use_kl_loss kl_loss_coef kl_loss_type grad_clip",
    "actor_rollout_ref.actor.policy_loss": "loss_mode",
    "actor_rollout_ref.actor.optim": "lr weight_decay lr_warmup_steps lr_scheduler_type",
    "actor_rollout_ref.model": "path trust_remote_code enable_gradient_checkpointing lora_rank lora_alpha "
    "target_modules",
    "actor_rollout_ref.rollout": "name n temperature top_p top_k tensor_model_parallel_size gpu_memory_utilization "
    "log_prob_micro_batch_size_per_gpu load_format",
    "reward.custom_reward_function": "path name",
    "trainer": "critic_warmup n_gpus_per_node nnodes total_training_steps save_freq",
}
ACTOR = "actor_rollout_ref.actor"


def handed(name="gsm8k_gspo", *overrides):
    return to_verl(load_recipe(name, overrides).recipe)


@pytest.mark.parametrize("name", ["gsm8k_gspo", "gsm8k_grpo", "gsm8k_moe", "quickstart_warmup"])
def test_every_key_is_one_of_verls(name):
    known = {f"{place}.{key}" for place, keys in KNOWN.items() for key in keys.split()}
    assert set(handed(name, "objective.beta=0.01").settings) <= known


def test_the_objective_is_gspo_with_its_clip():
    settings = handed().settings
    assert settings[f"{ACTOR}.policy_loss.loss_mode"] == "gspo"
    assert settings[f"{ACTOR}.loss_agg_mode"] == "seq-mean-token-mean"
    assert (settings[f"{ACTOR}.clip_ratio_low"], settings[f"{ACTOR}.clip_ratio_high"]) == (3e-4, 4e-4)
    assert handed("gsm8k_grpo").settings[f"{ACTOR}.policy_loss.loss_mode"] == "vanilla"


def test_counts_are_prompts_and_steps_are_rollouts():
    batches = ["training.per_device_train_batch_size=8", "training.gradient_accumulation_steps=4"]
    more = [*batches, "training.steps_per_generation=16", "training.max_steps=500", "training.save_steps=100"]
    settings = handed("gsm8k_gspo", *more).settings
    assert settings["data.train_batch_size"] == 8 * 16 // 8  # completions a rollout over a group of 8
    assert settings[f"{ACTOR}.ppo_mini_batch_size"] == 8 * 4 // 8
    assert settings["trainer.total_training_steps"] == 500 // 4
    assert settings["trainer.save_freq"] == 100 // 4
    with pytest.raises(UsageError, match="4 completions, no whole groups of 8"):
        handed("gsm8k_gspo", "training.per_device_train_batch_size=4", "training.gradient_accumulation_steps=1")


def test_what_stays_behind_is_said():
    plain, token = handed().left_behind, handed("gsm8k_gspo_token").left_behind
    assert any("advantages per token" in line for line in token)
    assert not any("advantages per token" in line for line in plain)
    assert any("4 or 8 bits" in line for line in plain)
    assert any("warm-up" in line for line in handed("quickstart_warmup").left_behind)


def test_the_script_is_a_shell_script():
    script = as_script(handed("gsm8k_moe"), "gsm8k_moe")
    command = script.split("\n\n")[1]
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    words = shlex.split(command)
    assert words[:3] == ["python3", "-m", "verl.trainer.main_ppo"]
    assert "actor_rollout_ref.model.target_modules=[q_proj,k_proj,v_proj,o_proj]" in words


def test_the_command_prints_it():
    done = subprocess.run(
        [sys.executable, "-m", "gspo_lite", "export-config", "quickstart_token", "--to", "verl", "--gpus", "2"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert "trainer.n_gpus_per_node=2" in done.stdout
    assert "credit and advantages per token" in done.stderr
