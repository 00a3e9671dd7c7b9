"""Conversations with tools before, during and after training, by the trainer's own loop."""

import hashlib
import json
import random
from pathlib import Path

import pytest
import torch

from gspo_lite import GSPOTrainer, load_recipe
from gspo_lite.errors import UsageError
from gspo_lite.evaluation import evaluate_path
from gspo_lite.load_parts import load_parts
from gspo_lite.models import generate
from gspo_lite.models.load import load_for_evaluation, load_model
from gspo_lite.rewards.contract.registry import build_rewards
from gspo_lite.run import run
from gspo_lite.system.run_folder import read_jsonl
from gspo_lite.tools.load import load_tools
from gspo_lite.training.play import Player
from tests.training.playing import ENVIRONMENT, SHORT, TOOL, calling, play_by, with_roles
from tests.training.test_trainer import config


@pytest.fixture
def recipe_with(tmp_path, monkeypatch, starter):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TOOL + ENVIRONMENT)
    with_roles(starter, tmp_path / "model")
    return lambda *sets: load_recipe("quickstart", [*SHORT, "model.name=model", *sets]).recipe


def answering(a, b, results):
    """Call the tool for every other problem, and say its result."""
    if a % 2:
        return "<think>x</think><answer>1</answer>"
    return f"<think>x</think><answer>{results[0]}</answer>" if results else calling("add", a=a, b=b)


def test_a_run_with_a_tool_plays_before_while_and_after_training(tmp_path, monkeypatch, recipe_with):
    play_by(answering, monkeypatch)
    recipe = recipe_with("tools=[mine.py:add]", "training.eval_steps=2", "training.save_steps=4")
    result = run(recipe)
    before = result.evaluation["before"]
    right = before["accuracy"]
    assert 0 < right < 1
    assert before["sampled_accuracy"] == right == result.evaluation["after"]["accuracy"]
    assert (before["mean_turns"], before["calls_per_episode"]) == (1 + right, right)
    assert before["tools"] == {"error": 0, "late": 0, "cut": 0, "refused": 0}
    steps = read_jsonl(result.folder / "metrics.jsonl")
    assert steps[1]["eval_accuracy"] == right
    assert steps[0]["turns/mean"] == 1 + steps[0]["tools/calls_per_episode"]
    assert steps[0]["tokens/own"] == steps[0]["completions/mean_length"]
    sample = next(one for one in read_jsonl(result.folder / "eval_samples.jsonl") if one["correct"])
    call, told, said = sample["turns"]
    assert call["calls"][0]["name"] == told["name"] == "add"
    assert (told["content"], told["end"], said["content"]) == (sample["answer"], "done", sample["completion"])
    row = next(one for one in read_jsonl(result.folder / "completions.jsonl") if len(one["turns"]) == 3)
    assert [one.get("advantage") for one in row["turns"]] == [row["advantage"], None, row["advantage"]]
    facts = json.loads((result.folder / "environment.json").read_text())
    assert facts["custom_tools"] == {"add": hashlib.sha256((TOOL + ENVIRONMENT).encode()).hexdigest()}
    assert evaluate_path(str(result.folder))["accuracy"] == right
    (tmp_path / "mine.py").write_text(TOOL + ENVIRONMENT + "# changed\n")
    longer = recipe_with(
        "tools=[mine.py:add]", "training.eval_steps=2", "training.save_steps=4", "training.max_steps=8"
    )
    with pytest.raises(UsageError, match="the file of `add` changed"):
        run(longer, resume=True)


def playing(a, b, results):
    """Say one too few in the first turn where the first number is odd, then the sum."""
    return calling("say", number=a + b - (a % 2 and not results)) if len(results) < 2 else "done"


def test_where_only_the_environment_pays_its_reward_is_the_accuracy(tmp_path, monkeypatch, recipe_with):
    play_by(playing, monkeypatch)
    rows = [{"prompt": "Play.", "left": a, "right": 10} for a in range(40)]
    for name, part in (("train", rows[8:]), ("test", rows[:8])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    result = run(
        recipe_with(
            "environment=mine.py:Sum", "rewards=[]", "data.source=train.jsonl", "data.eval.source=test.jsonl",
            "data.prompt=plain", "generation.max_turns=2", "training.eval_steps=2", "output.keep_best=true",
        )
    )  # fmt: skip
    figures = result.evaluation["before"]
    assert figures["n"] == 8  # equal prompts are different problems where an environment reads the other columns
    assert figures["rewards"] == {"Sum": 0.5}  # at an odd number the second call is not made: two turns
    assert (figures["accuracy"], figures["calls_per_episode"], figures["mean_turns"]) == (0.5, 1.0, 2.0)
    assert "get_reward() is at least 1" in figures["accuracy_is"]
    assert result.evaluation["after"]["step"] == 2  # the best by what the environment pays
    samples = read_jsonl(result.folder / "eval_samples.jsonl")
    assert [one["correct"] for one in samples[:4]] == [True, False, True, False]
    assert [one["turns"][1]["content"] for one in samples[:2]] == ["yes", "no"]


def test_several_environments_are_chosen_by_a_column(tmp_path, monkeypatch, recipe_with):
    play_by(playing, monkeypatch)
    rows = [{"prompt": "Play.", "left": a, "right": 1, "environment": "ab"[a % 2]} for a in range(16)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = ["rewards=[]", "data.source=train.jsonl", "data.eval.limit=4", "data.prompt=plain"]
    parts = load_parts(recipe_with("environment={a: mine.py:Sum, b: mine.py:Sum}", *sets))
    assert [one.__name__ for one in parts.play.tools_of(rows[0])] == ["say"]
    played = parts.play(list(parts.problems.held_out), None)
    assert played.paid == [1.0] * len(parts.problems.held_out)
    assert all(one.foreign > 0 for one in played.answers)  # the environment's replies
    with pytest.raises(UsageError, match=r"row 2 .* `environment` is `b`, .*allowed: `a`"):
        load_parts(recipe_with("environment={a: mine.py:Sum}", *sets))


def state_of(model):
    weights = {name: (one.dtype, one.requires_grad, one.data_ptr()) for name, one in model.named_parameters()}
    modes = [
        (module.training, len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()
    ]
    return weights, modes, model.get_base_model().model_tags, model.config.to_dict(), sorted(vars(model))


@pytest.mark.parametrize("frozen", [False, True])
def test_building_a_player_changes_nothing_in_the_model(recipe_with, frozen):
    recipe = recipe_with("tools=[mine.py:add]", "objective.beta=0.1")
    parts = load_model(recipe.model, "transformers")
    if frozen:
        parts.model.save_pretrained("adapter")
        parts = load_for_evaluation(recipe.model, Path("adapter"))
    before, numbers = state_of(parts.model), (random.getstate(), torch.random.get_rng_state().tolist())
    rewards = build_rewards(recipe.rewards, recipe.data.layout)
    Player(recipe, parts.model, parts.processing_class, rewards, load_tools(recipe))
    assert state_of(parts.model) == before
    assert (random.getstate(), torch.random.get_rng_state().tolist()) == numbers


@pytest.mark.parametrize("temperature", [None, 1.0])
def test_a_player_answers_as_evaluation_does_where_no_tool_is_called(recipe_with, temperature):
    parts = load_parts(recipe_with("tools=[mine.py:add]", "generation.max_completion_length=40"))
    loaded, rows = parts.loaded, [one for one in parts.problems.held_out if len(one["prompt"][-1]["content"]) == 16][:4]
    played = parts.play(rows, temperature)
    plain = generate.answer(loaded.model, loaded.processing_class, rows, parts.recipe, temperature)
    end = loaded.processing_class.eos_token_id
    assert [[token for token in one.ids if token != end] for one in played.answers] == [one.ids for one in plain]
    assert [one.text for one in played.answers] == [one.text for one in plain]
    assert list(played.said) == ["math_correct", "think_format"]
    anew = parts.play(rows, temperature, sampling_seed=1)
    assert ([one.text for one in anew.answers] == [one.text for one in plain]) is (temperature is None)


def test_plain_prompts_cannot_have_tools(tmp_path, recipe_with):
    parts = load_model(recipe_with("tools=[mine.py:add]").model, "transformers")
    tools = load_tools(recipe_with("tools=[mine.py:add]")).functions
    with pytest.raises(UsageError, match="the prompts are plain text, but tools need conversations"):
        GSPOTrainer(
            parts.model, lambda completions: [0.0] * len(completions), config(tmp_path), ["What is 1 + 1?"] * 8,
            processing_class=parts.processing_class, tools=tools,
        )  # fmt: skip


def test_a_template_without_tool_roles_is_refused_before_the_model_is_loaded(recipe_with, monkeypatch):
    monkeypatch.setattr("gspo_lite.load_parts.load_model", None)
    with pytest.raises(UsageError, match="chat template of `starter` leaves out calls") as error:
        load_parts(recipe_with("tools=[mine.py:add]", "model.name=starter"))
    assert "Qwen3" in error.value.hint
