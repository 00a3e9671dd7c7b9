"""A reward model from a recipe: its scores, and what is refused before a run begins."""

import json

import pytest
import torch

from gspo_lite import load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.registry import build_rewards, get
from gspo_lite.run import run
from tests.models.tiny_models import write_judge, write_text_model


def judge_reward(folder, **options):
    return build_rewards([RewardSettings(name="reward_model", options={"model": str(folder), **options})])[0]


def test_scores_are_those_of_the_model_on_each_text_alone(tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = write_judge(tmp_path / "judge", outputs=2)
    prompts = [[{"role": "user", "content": question}] for question in ("What is 2 + 2?", "Why?", "And now?")]
    answers = ["4", "because it is so, and has been for a long time", ""]
    scores = judge_reward(folder, label=1, batch_size=2)(
        completions=[[{"role": "assistant", "content": text}] for text in answers], prompts=prompts
    )
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for prompt, answer, score in zip(prompts, answers, scores, strict=True):
        text = tokenizer.apply_chat_template([*prompt, {"role": "assistant", "content": answer}], tokenize=False)
        with torch.no_grad():
            alone = model(**tokenizer(text, return_tensors="pt", add_special_tokens=False)).logits[0, 1]
        assert score == pytest.approx(float(alone), abs=1e-5)
    assert len(set(scores)) == 3


def test_a_long_text_keeps_its_end(tmp_path):
    reward = judge_reward(write_judge(tmp_path / "judge"), max_length=16)
    prompts = ["x" * 300, "y" * 300]
    first, second = reward(completions=["the very same end here"] * 2, prompts=prompts)
    assert first == pytest.approx(second, abs=1e-6)
    other, _ = reward(completions=["the very same end hers"] * 2, prompts=prompts)
    assert other != pytest.approx(first, abs=1e-6)


def test_a_model_without_a_trained_output_is_refused(tmp_path):
    folder = write_text_model("qwen3", tmp_path / "causal")
    with pytest.raises(UsageError, match=r"has no weights for `score.weight`, so its scores would be random"):
        judge_reward(folder)


def test_outputs_must_be_one_or_named(tmp_path):
    folder = write_judge(tmp_path / "judge", outputs=3)
    with pytest.raises(UsageError, match="has 3 outputs; a reward model has 1"):
        judge_reward(folder)
    with pytest.raises(UsageError, match="`label` 3 is not one of the 3 outputs"):
        judge_reward(folder, label=3)
    assert judge_reward(folder, label=2).weight == 1.0


def test_a_missing_judge_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"reward `reward_model`: `.*nothing` cannot be loaded"):
        judge_reward(tmp_path / "nothing")
    assert get("reward_model").problems({}) != []  # the model must be named


def test_a_run_optimises_a_reward_model(tmp_path, monkeypatch, quick, starter):
    monkeypatch.chdir(tmp_path)
    write_judge(tmp_path / "judge")
    rewards = "rewards=[{name: reward_model, options: {model: ./judge}}, {name: math_correct, weight: 0.0}]"
    folder = run(load_recipe("quickstart", [*quick, rewards], output="out").recipe).folder
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps[0]["rewards/reward_model/std"] > 0
    assert steps[0]["grad_norm"] > 0
