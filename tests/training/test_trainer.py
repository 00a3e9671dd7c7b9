"""GSPOTrainer on stock TRL, whole steps of real training on the starter."""

import json
import math
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from gspo_lite import GSPOConfig, GSPOTrainer
from gspo_lite.errors import RunError, UsageError
from gspo_lite.models.load import load_model
from gspo_lite.recipe import extra
from gspo_lite.recipe.schema import ModelSettings
from gspo_lite.training.arguments import check_arguments
from gspo_lite.training.scoring import drop_rounding

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = [[{"role": "user", "content": f"What is {a} + 27?"}] for a in range(10, 26)]


def carries(completions, **columns):
    return [float("+1" in completion[0]["content"]) for completion in completions]


def config(tmp_path, **options):
    defaults = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 8,
        "max_completion_length": 32,
        "max_steps": 4,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "seed": 3,
    }
    return GSPOConfig(**defaults | options)


def loaded(four_bit=False):
    settings = ModelSettings(name="starter", backend="transformers", load_in_4bit=four_bit, dtype="float32")
    return load_model(settings, "transformers", seed=0)


def adapter_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def test_defaults_are_the_papers():
    args = GSPOConfig(output_dir="x", gradient_accumulation_steps=2, use_cpu=True, bf16=False)
    assert (args.importance_sampling_level, args.loss_type) == ("sequence", "grpo")
    assert (args.epsilon, args.epsilon_high, args.beta) == (3e-4, 4e-4, 0.0)
    assert args.steps_per_generation == 8  # 4 optimizer steps a rollout x 2 accumulated batches


def test_the_four_bit_path_trains_a_float32_adapter(tmp_path, starter):
    parts = loaded(four_bit=True)
    quantized = [m for m in parts.model.modules() if type(m).__module__.startswith("bitsandbytes")]
    assert len(quantized) == 4 * 7  # layers x projections
    trainer = GSPOTrainer(parts.model, carries, config(tmp_path), PROMPTS, processing_class=parts.processing_class)
    before = adapter_of(trainer.model)
    assert {p.dtype for p in before.values()} == {torch.float32}
    trainer.train()
    after = adapter_of(trainer.model)
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) == len(before)


@pytest.mark.parametrize("options", [{}, {"credits": [{"tail": 2}]}])
def test_a_group_that_is_paid_alike_teaches_nothing_though_rounding_says_so(tmp_path, monkeypatch, starter, options):
    seen = []

    def spy(trainer, rewards, output):
        seen.append(output["advantages"].clone())
        drop_rounding(trainer, rewards, output)

    monkeypatch.setattr("gspo_lite.training.trainer.drop_rounding", spy)
    parts = loaded()
    args = config(tmp_path, importance_sampling_level="sequence_token" if options else "sequence", reward_weights=[0.2])
    alike = lambda completions, **columns: [1.0] * len(completions)  # noqa: E731
    trainer = GSPOTrainer(parts.model, alike, args, PROMPTS, processing_class=parts.processing_class, **options)
    before = adapter_of(trainer.model)
    trainer.train()
    assert seen[0].abs().min() > 1e-4  # TRL's own: 0.2 in float32 is not the mean of eight of them
    assert all(torch.equal(before[name], value) for name, value in adapter_of(trainer.model).items())
    assert trainer.state.log_history[0]["frac_reward_zero_std"] == 1.0
    assert {row["advantage"] for row in trainer.rollout} == {0.0}


def test_gspo_token_equals_gspo_where_advantages_are_the_same_for_every_token(tmp_path, starter):
    weights = []
    for level in ("sequence", "sequence_token"):
        parts = loaded()
        args = config(tmp_path, importance_sampling_level=level)
        trainer = GSPOTrainer(parts.model, carries, args, PROMPTS, processing_class=parts.processing_class)
        trainer.train()
        weights.append(torch.cat([p.flatten() for p in adapter_of(trainer.model).values()]))
    start = torch.cat([p.flatten() for p in adapter_of(loaded().model).values()])
    assert (weights[0] - start).norm() > 0.1  # it trained
    assert torch.allclose(weights[0], weights[1], atol=2e-4)


def test_gspo_differs_from_grpo_off_policy(tmp_path, starter):
    weights = []
    for options in ({}, {"importance_sampling_level": "token", "epsilon": 0.2, "epsilon_high": None}):
        parts = loaded()
        trainer = GSPOTrainer(
            parts.model, carries, config(tmp_path, **options), PROMPTS, processing_class=parts.processing_class
        )
        trainer.train()
        weights.append(torch.cat([p.flatten() for p in adapter_of(trainer.model).values()]))
    assert not torch.allclose(weights[0], weights[1], atol=1e-3)


def test_padding_is_never_sampled(tmp_path, starter):
    parts = loaded()
    head = parts.model.get_output_embeddings()
    pad = parts.processing_class.pad_token_id
    trainer = GSPOTrainer(
        parts.model, carries, config(tmp_path, max_steps=1), PROMPTS, processing_class=parts.processing_class
    )
    sampled = []
    trainer.reward_funcs = [lambda completion_ids, **columns: [sampled.extend(ids) or 1.0 for ids in completion_ids]]

    def favour_padding(module, args, logits):
        logits[..., pad] += 100.0
        return logits

    handle = head.register_forward_hook(favour_padding)
    trainer.train()
    handle.remove()
    assert sampled
    assert pad not in sampled


def test_the_rollout_is_kept_with_rewards_and_advantages(tmp_path, starter):
    rows = [{"prompt": prompt, "answer": str(i)} for i, prompt in enumerate(PROMPTS)]
    trainer = GSPOTrainer("starter", carries, config(tmp_path, max_steps=1), rows)
    trainer.train()
    assert len(trainer.rollout) == 32  # 4 batches of 8
    for start in range(0, 32, 8):  # groups of 8 completions of one prompt
        group = trainer.rollout[start : start + 8]
        assert [row["prompt"] for row in group] == [group[0]["prompt"]] * 8
        assert len({row["answer"] for row in group}) == 1
        assert sum(row["advantage"] for row in group) == pytest.approx(0, abs=1e-4)
        asked = int(re.search(r"is (\d+) \+", group[0]["prompt"][-1]["content"]).group(1))
        assert int(group[0]["answer"]) == asked - 10
    assert trainer.rollout[0]["rewards"]["carries"] in (0.0, 1.0)


@pytest.mark.parametrize(
    ("level", "name", "tag", "paper"),
    [
        ("sequence", "GSPO", "gspo", "2507.18071"),
        ("sequence_token", "GSPO-token", "gspo-token", "2507.18071"),
        ("token", "GRPO", "grpo", "2402.03300"),
    ],
)
def test_trls_model_card_names_the_method(tmp_path, starter, level, name, tag, paper):
    args = config(tmp_path, importance_sampling_level=level, epsilon=0.2, epsilon_high=0.2)
    trainer = GSPOTrainer("starter", carries, args, PROMPTS)
    trainer.create_model_card()
    card = (tmp_path / "README.md").read_text()
    assert f"This model was trained with {name}, a method introduced in" in card
    assert f"https://huggingface.co/papers/{paper}" in card
    assert re.search(rf"^- {tag}$", card, re.MULTILINE)
    assert ("shao2024deepseekmath" in card) == (name == "GRPO")
    assert set(trainer.model.model_tags) >= {"trl", tag}


@pytest.mark.parametrize(("installed", "refused"), [("1.13.0", True), ("1.14.2", False)])
def test_liger_is_refused_with_gspo_token_where_it_computes_the_loss(tmp_path, monkeypatch, installed, refused):
    monkeypatch.setattr(extra, "installed", lambda package: installed)
    args = config(tmp_path, importance_sampling_level="sequence_token")
    args.use_liger_kernel = True
    with pytest.raises(UsageError, match="its own loss") if refused else nullcontext():
        check_arguments(args, None, strict=False)


def test_an_empty_list_of_prompts_is_refused(tmp_path):
    with pytest.raises(UsageError, match="empty list"):
        GSPOTrainer("starter", carries, config(tmp_path), [])


def test_the_readmes_example_learns_and_nothing_is_wrong_with_it(tmp_path, monkeypatch, capsys, starter):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    snippet = next(code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "GSPOTrainer" in code)
    names: dict = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert names["trainer"].state.global_step == 64
    assert json.dumps(names["trainer"].rollout)
    rewards, third = names["rewards"], len(names["rewards"]) // 3
    assert len(rewards) == 16  # of 4 steps each
    assert sum(rewards[-third:]) / third > sum(rewards[:third]) / third + 0.15  # 0.33 to 0.39 more, over three seeds
    assert "warning" not in capsys.readouterr().err


def test_fewer_prompts_than_a_rollout_takes_are_refused(tmp_path, starter):
    with pytest.raises(UsageError, match="`train_dataset` has 1 prompts, but a rollout needs "):
        GSPOTrainer("starter", lambda completions, **_: [0.0] * len(completions), config(tmp_path), PROMPTS[:1])


def test_a_run_whose_rewards_judge_nothing_stops(tmp_path, starter):
    def mute(completions, **columns):
        return [math.nan] * len(completions)

    args = config(tmp_path, logging_steps=1, steps_per_generation=1, max_unscored_rollouts=2)
    trainer = GSPOTrainer("starter", mute, args, PROMPTS)
    with pytest.raises(RunError, match="in 2 rollouts in a row"):
        trainer.train()
    assert trainer.state.global_step == 1
    assert trainer.state.log_history[0]["rewards/mute/none_count"] == 8
    assert math.isfinite(trainer.state.log_history[0]["loss"])
