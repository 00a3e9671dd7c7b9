"""GSPOTrainer says by itself that nothing is learned, also in a training of one rollout that TRL hardly logs."""

import pytest
import torch

from gspo_lite import GSPOTrainer, GuardSettings
from gspo_lite.errors import RunError
from tests.training.test_idle_backward import beyond_the_clip
from tests.training.test_trainer import PROMPTS, adapter_of, config, loaded


def varied(completions, **columns):
    return [float(index % 2) for index in range(len(completions))]


def alike(completions, **columns):
    return [1.0] * len(completions)


def silent(self, prompt_ids, *_):
    """The model ends at once."""
    return [[self.processing_class.eos_token_id] for _ in prompt_ids], None


def train(tmp_path, reward, *, options=None, **more):
    parts = loaded()
    args = config(tmp_path, **{"logging_steps": 10, **(options or {})})
    trainer = GSPOTrainer(parts.model, reward, args, PROMPTS, processing_class=parts.processing_class, **more)
    trainer.train()
    return trainer


def test_a_sound_training_warns_of_nothing(tmp_path, capsys, starter):
    train(tmp_path, varied)
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reward", "options", "says"),
    [
        (alike, {}, "every completion of the only rollout got the same reward (the last: 1)"),
        (alike, {"max_steps": 8}, "every completion of all 2 rollouts got the same reward"),
        (varied, {"learning_rate": 0.0}, "no weight has changed from step 0 to step 4"),
    ],
)
def test_nothing_learned_is_said_once(tmp_path, capsys, starter, reward, options, says):
    train(tmp_path, reward, options=options)
    said = capsys.readouterr().err
    assert says in said
    assert said.count("warning: ") == said.count("hint: ") == 1


def test_empty_completions_are_the_one_thing_said(tmp_path, capsys, monkeypatch, starter):
    monkeypatch.setattr(GSPOTrainer, "_generate_single_turn", silent)
    train(tmp_path, lambda completions, **_: [float(bool(one[0]["content"])) for one in completions])
    said = capsys.readouterr().err
    assert "nearly all completions of the only rollout are empty" in said
    assert said.count("warning: ") == 1
    train(tmp_path / "none", alike, guards=None)
    assert "warning" not in capsys.readouterr().err


def test_steps_far_too_large_are_said_to_have_no_effect(tmp_path, capsys, monkeypatch, starter):
    beyond_the_clip(monkeypatch)
    train(tmp_path, varied, options={"max_steps": 8, "logging_steps": 1, "learning_rate": 1e-4})
    said = capsys.readouterr().err
    assert said.count("were clipped in 6 steps in a row, the first on each rollout apart") == 1
    assert "Lower training.learning_rate, which is " in said


def broken(trainer):
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            parameter.register_hook(lambda gradient: gradient * torch.nan)


@pytest.mark.parametrize("action", ["stop", "warn"])
def test_a_step_that_is_not_finite_never_reaches_the_weights(tmp_path, capsys, starter, action):
    parts = loaded()
    more = {} if action == "stop" else {"guards": GuardSettings(non_finite="warn")}
    trainer = GSPOTrainer(
        parts.model, varied, config(tmp_path), PROMPTS, processing_class=parts.processing_class, **more
    )
    broken(trainer)
    before = adapter_of(trainer.model)
    if action == "stop":
        with pytest.raises(RunError, match=r"step 1 is not finite.*\n.*guards=GuardSettings\(non_finite="):
            trainer.train()
    else:
        trainer.train()
        assert capsys.readouterr().err.count("warning: ") == 3  # of four steps the first, the second and the fourth
    assert all(torch.equal(before[name], value) for name, value in adapter_of(trainer.model).items())
