"""What is not finite is never applied; what looks like collapse is said once, and done about as the recipe says."""

import json
from types import SimpleNamespace

import pytest
import torch

from gspo_lite.errors import NotSaved, RunError
from gspo_lite.recipe.schema import GuardSettings
from gspo_lite.training.watch.collapse import SIGNS, repetitive
from gspo_lite.training.watch.guards import ROLLBACKS, SCALER_PATIENCE, Guards

SOUND = {
    "reward": 0.5, "reward_std": 0.4, "frac_reward_zero_std": 0.2, "completions/clipped_ratio": 0.1, "entropy": 0.3,
    "gspo/log_ratio_min": -0.01, "gspo/log_ratio_max": 0.01, "kl": 0.02,
}  # fmt: skip
VARIED = [{"completion": f"{n} and {n * n}"} for n in range(4)]
EMPTY = [{"completion": " \n"}] * 9 + [{"completion": "12"}]
STUCK = [{"completion": "wait, " * 100} for _ in range(4)]


class Trainer:
    """What a guard sees of a trainer."""

    def __init__(self, checkpoint=None):
        self.model = torch.nn.Linear(2, 1, bias=False)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.accelerator = SimpleNamespace(scaler=None)
        self.losses, self.applying, self.rollout = True, True, VARIED
        self.args, self.updates_per_rollout = SimpleNamespace(epsilon=3e-4), 4
        self.checkpoint, self.rolled_back = checkpoint, 0

    def losses_were_finite(self):
        were, self.losses = self.losses, True
        return were

    def leave_step_out(self):
        self.applying = False

    def roll_back(self):
        self.rolled_back += 1
        return self.checkpoint

    def step(self, guards, poison=None, step=0):
        """One optimizer step as transformers makes it."""
        self.model(torch.ones(1, 2)).sum().backward()
        if poison is not None:
            self.model.weight.grad[0, 0] = poison
        state = SimpleNamespace(global_step=step)
        guards.on_pre_optimizer_step(None, state, None)
        self.optimizer.step()
        guards.on_optimizer_step(None, state, None)
        self.optimizer.zero_grad()
        guards.on_step_end(None, state, None)


def guarded(checkpoint=None, **settings):
    trainer = Trainer(checkpoint)
    return trainer, Guards(trainer, GuardSettings(**settings))


def log(guards, figures, rollouts=1):
    for _ in range(rollouts):
        guards.on_log(None, SimpleNamespace(global_step=1), None, logs=dict(figures))


def test_what_is_said_is_noted_for_the_report():
    trainer, notes = Trainer(None), []
    trainer.state = SimpleNamespace(global_step=7)
    Guards(trainer, GuardSettings(), lambda *one: notes.append(one)).warn("what", "why")
    assert notes == [(7, "warning", "what", "why")]


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("action", ["warn", "rollback"])
def test_a_gradient_that_is_not_finite_moves_no_weight(capsys, poison, action):
    trainer, guards = guarded(checkpoint=4, non_finite=action)
    trainer.step(guards)  # so that Adam has momentum, which alone would move a weight
    before = trainer.model.weight.detach().clone()
    trainer.step(guards, poison, step=6)
    assert torch.equal(trainer.model.weight, before)
    assert guards.not_applied == 1
    assert "the gradient of step 7 is not finite; the step was not applied" in capsys.readouterr().err
    assert trainer.rolled_back == (action == "rollback")
    trainer.step(guards)
    assert not torch.equal(trainer.model.weight, before)


def test_a_loss_that_is_not_finite_is_left_out_even_with_a_sound_gradient():
    trainer, guards = guarded(non_finite="warn")
    trainer.losses = False
    before = trainer.model.weight.detach().clone()
    trainer.step(guards)
    assert torch.equal(trainer.model.weight, before)
    assert trainer.losses  # for the next step


def test_stop_leaves_the_weights_worth_saving():
    trainer, guards = guarded()
    with pytest.raises(RunError, match=r"step 1 is not finite.*\n.*training\.guards\.non_finite") as caught:
        trainer.step(guards, float("nan"))
    assert caught.value.worth_saving
    assert not trainer.applying


def test_a_weight_that_overflowed_is_never_saved():
    trainer, guards = guarded()
    trainer.model.weight.data[0, 0] = float("inf")
    with pytest.raises(NotSaved, match="a weight is no longer finite"):
        guards.on_optimizer_step(None, SimpleNamespace(global_step=1), None)


def test_loss_scaling_may_skip_steps_while_it_looks_for_its_scale():
    trainer, guards = guarded()
    trainer.accelerator.scaler = object()
    for _ in range(SCALER_PATIENCE - 1):
        trainer.model.weight.grad = torch.full((1, 2), float("inf"))
        guards.on_pre_optimizer_step(None, SimpleNamespace(global_step=0), None)
    with pytest.raises(RunError):
        guards.on_pre_optimizer_step(None, SimpleNamespace(global_step=0), None)


def test_going_back_again_and_again_ends_the_run():
    trainer, guards = guarded(checkpoint=4, non_finite="rollback")
    for _ in range(ROLLBACKS):
        trainer.step(guards, float("nan"))
    with pytest.raises(NotSaved, match="did not help"):
        trainer.step(guards, float("nan"))


def test_without_a_checkpoint_there_is_nothing_to_go_back_to():
    trainer, guards = guarded(non_finite="rollback")
    with pytest.raises(NotSaved, match="no complete checkpoint"):
        trainer.step(guards, float("nan"))


@pytest.mark.parametrize(
    ("name", "figures", "rollout", "says"),
    [
        ("flat_reward", {"reward_std": 0.0, "reward": 1.0}, VARIED, "got the same reward (the last: 1)"),
        ("no_variance", {"frac_reward_zero_std": 1.0}, VARIED, "no group had two completions with different rewards"),
        ("truncated", {"completions/clipped_ratio": 0.95}, VARIED, "95% of the completions are cut off"),
        ("empty_completions", {}, EMPTY, "nearly all completions of 4 rollouts in a row are empty"),
        (
            "no_effect",
            {"gspo/fully_clipped_share": 0.96, "gspo/log_ratio_min": -0.4, "gspo/log_ratio_max": 0.2},
            VARIED,
            "at least 95% of the completions with an advantage were clipped in 6 steps in a row, the first on each "
            "rollout apart, so they changed next to nothing: log s is between -4.0e-01 and 2.0e-01, the clip begins "
            "at 3.0e-04",
        ),
        ("entropy_gone", {"entropy": 1e-4}, VARIED, "certain of every token (entropy below 0.001 nats)"),
        ("entropy_gone", {"entropy": None, "entropy_active_rows": 1e-4}, VARIED, "certain of every token"),
        ("repeated_text", {}, STUCK, "repeat one phrase over and over"),
        ("ratio_explosion", {"gspo/log_ratio_min": -2.0}, VARIED, "beyond what the clip can contain for 3 steps"),
        ("ratio_explosion", {"kl": 9.0}, VARIED, "beyond what the clip can contain for 3 steps"),
    ],
)
def test_collapse_is_said_once_with_cause_and_remedy(capsys, name, figures, rollout, says):
    trainer, guards = guarded(rollouts=4)
    log(guards, SOUND, 20)
    assert capsys.readouterr().err == ""
    trainer.rollout = rollout
    log(guards, {**SOUND, **figures}, 20)
    said = capsys.readouterr().err
    assert said.count(says) == 1
    assert said.count("hint: ") == 1
    trainer, guards = guarded(rollouts=4, **{name: "stop"})
    trainer.rollout = rollout
    with pytest.raises(RunError, match=f"training.guards.{name}"):
        log(guards, {**SOUND, **figures}, 6)


def test_a_sign_must_last_without_a_break(capsys):
    _, guards = guarded(rollouts=4)
    for _ in range(5):
        log(guards, {**SOUND, "frac_reward_zero_std": 1.0}, 3)
        log(guards, SOUND)
    assert capsys.readouterr().err == ""


def test_steps_inside_a_rollout_say_nothing_about_it(capsys):
    _, guards = guarded(rollouts=2)
    for _ in range(2):
        log(guards, {**SOUND, "entropy": 1e-5, "frac_reward_zero_std": 1.0})
        log(guards, {"loss": 0.1, "entropy": 1e-5}, 3)
    said = capsys.readouterr().err
    assert "2 rollouts in a row no group" in said
    assert "certain of every token" in said


def test_counting_goes_on_after_resuming():
    _, guards = guarded(rollouts=4, no_variance="stop")
    log(guards, {**SOUND, "frac_reward_zero_std": 1.0}, 3)
    _, resumed = guarded(rollouts=4, no_variance="stop")
    resumed.restore(guards.counters())
    with pytest.raises(RunError, match="4 rollouts in a row"):
        log(resumed, {**SOUND, "frac_reward_zero_std": 1.0})


def test_what_was_told_before_resuming_is_not_told_again(capsys):
    _, guards = guarded(rollouts=2)
    log(guards, {**SOUND, "frac_reward_zero_std": 1.0}, 2)
    assert capsys.readouterr().err.count("warning: ") == 1
    _, resumed = guarded(rollouts=2)
    resumed.restore(json.loads(json.dumps(guards.counters())))
    log(resumed, {**SOUND, "frac_reward_zero_std": 1.0}, 2)
    assert capsys.readouterr().err == ""


def ended(guards, steps):
    guards.on_train_end(None, SimpleNamespace(global_step=steps), None)


def begun(**settings):
    trainer, guards = guarded(**settings)
    guards.on_train_begin(None, SimpleNamespace(global_step=0), None)
    return trainer, guards


def test_a_sign_that_comes_back_is_told_once(capsys):
    _, guards = guarded(rollouts=2)
    for _ in range(5):
        log(guards, {**SOUND, "frac_reward_zero_std": 1.0}, 3)
        log(guards, SOUND)
    assert capsys.readouterr().err.count("no group had two") == 1


def test_what_follows_from_another_sign_is_not_told_beside_it(capsys):
    trainer, guards = guarded(rollouts=2)
    trainer.rollout = EMPTY
    flat = {**SOUND, "reward": 0.0, "reward_std": 0.0, "frac_reward_zero_std": 1.0, "entropy": 1e-5}
    log(guards, flat, 9)
    assert capsys.readouterr().err.count("warning: ") == 1
    trainer.rollout = VARIED
    log(guards, {**flat, "entropy": 0.3, "reward_std": 0.4})
    assert "no group had two" in capsys.readouterr().err  # nothing else explains it any more
    trainer, guards = guarded(rollouts=2, no_variance="stop")
    trainer.rollout = EMPTY
    with pytest.raises(RunError, match="no group had two"):
        log(guards, flat, 2)


def test_a_second_training_of_a_trainer_is_judged_anew(capsys):
    _, guards = begun(rollouts=2)
    for _ in range(2):
        log(guards, {**SOUND, "frac_reward_zero_std": 1.0}, 2)
        guards.on_train_begin(None, SimpleNamespace(global_step=0), None)
    assert capsys.readouterr().err.count("no group had two") == 2


def test_a_training_too_short_for_its_patience_is_judged_at_its_end(capsys):
    trainer, guards = begun()
    trainer.rollout = EMPTY
    log(guards, {**SOUND, "frac_reward_zero_std": 1.0, "reward_std": 0.0}, 3)
    assert capsys.readouterr().err == ""
    ended(guards, 12)
    assert "nearly all completions of all 3 rollouts are empty" in capsys.readouterr().err
    trainer, guards = begun()
    log(guards, SOUND)
    log(guards, {**SOUND, "frac_reward_zero_std": 1.0}, 3)  # not all of it
    trainer.step(guards)
    ended(guards, 4)
    assert capsys.readouterr().err == ""


def test_rollouts_between_two_logs_count(capsys):
    _, guards = begun(rollouts=5)
    for step in (10, 20):  # five rollouts of four steps, nothing of the first log's
        figures = {**SOUND, "frac_reward_zero_std": 1.0}
        guards.on_log(None, SimpleNamespace(global_step=step), None, logs=figures)
    assert "in 4 rollouts" not in capsys.readouterr().err
    guards.on_log(None, SimpleNamespace(global_step=30), None, logs=figures)
    assert "in 6 rollouts in a row no group" in capsys.readouterr().err


def test_weights_that_never_change_are_told(capsys):
    trainer, guards = begun()
    trainer.optimizer.param_groups[0].update(lr=0.0)
    trainer.step(guards)
    ended(guards, 1)
    assert "no weight has changed from step 0 to step 1" in capsys.readouterr().err
    trainer, guards = begun()
    weights = [one.detach().clone() for one in trainer.model.parameters()]
    trainer.step(guards)
    for parameter, first in zip(trainer.model.parameters(), weights, strict=True):
        parameter.data = first  # the best step was the one that training was resumed from
    ended(guards, 1)
    assert capsys.readouterr().err == ""


def test_steps_that_are_left_out_are_told_ever_more_rarely(capsys):
    trainer, guards = guarded(non_finite="warn")
    for _ in range(20):
        trainer.step(guards, float("nan"))
    said = capsys.readouterr().err
    assert said.count("not applied") == 5  # the 1st, 2nd, 4th, 8th and 16th
    assert "not applied, as 15 before it" in said


def test_prose_and_short_answers_are_not_repetition():
    assert not repetitive("the answer is 4")
    assert not repetitive("First I add 47 and 23, carrying one, which makes 70. " + " ".join(map(str, range(60))))
    assert repetitive("ha" * 200)


def test_every_sign_has_a_key_in_the_recipe():
    assert {sign.name for sign in SIGNS} <= set(GuardSettings.model_fields)
