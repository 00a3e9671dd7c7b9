"""Runs with tools and environments that end inside an episode, resumed: bit for bit those that never ended."""

import os
import random
import signal

import pytest
import torch

from tests.training.playing import calling
from tests.training.test_turns import Guessing, add, guess, trainer_of

OPTIONS = {"max_steps": 8, "importance_sampling_level": "sequence_token", "temperature": 1.0}
CALLS = []  # of all tools in this process


class Hidden(Guessing):
    """The number is drawn anew for every episode."""

    def reset(self, **row):
        return super().reset(number=random.randint(1, 9))

    def guess(self, value: int) -> str:
        """Guess the number.

        Args:
            value: the guess
        """
        noted()
        return super().guess(value)


def sum_of(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: a number
        b: another
    """
    noted()
    return add(a, b)


def noted():
    CALLS.append(None)
    if len(CALLS) == noted.end_at:
        os.kill(os.getpid(), signal.SIGINT)


noted.end_at = None


class Drawn:
    """A model that draws what it says: up to three turns with one call or two."""

    def __init__(self, call):
        self.call = call

    def __call__(self, trainer):
        tokenizer = trainer.processing_class

        def say():
            first, second, more = torch.randint(0, 10, (3,)).tolist()
            calls = self.call(first) + (self.call(second) if more > 7 else "")
            return f"#{calls if more > 2 else first}<|end|>"

        def turn(prompt_ids, *_, **__):
            return [tokenizer.encode(say(), add_special_tokens=False) for _ in prompt_ids], None

        return turn


def total(completions, **_):
    return [float(sum(map(len, (message["content"] for message in one))) % 7) for one in completions]


KINDS = {
    "tools": (lambda value: calling("sum_of", a=value, b=1), {"rewards": total, "tools": [sum_of]}),
    "environments": (guess, {"rewards": None, "environment_factory": Hidden}),
}


def made(folder, kind):
    call, options = KINDS[kind]
    trainer = trainer_of(folder, script=Drawn(call), **OPTIONS, **options)
    random.seed(5)
    torch.manual_seed(5)
    return trainer


def outcome(trainer):
    weights = {name: value.detach() for name, value in trainer.model.named_parameters() if value.requires_grad}
    clock = ("runtime", "per_second", "seconds", "step_time")
    logs = [{k: v for k, v in one.items() if not any(c in k for c in clock)} for one in trainer.state.log_history]
    return weights, [one for one in logs if "loss" in one], trainer.rollout


@pytest.fixture(autouse=True)
def plain_interrupts():
    """Handle Ctrl-C as Python does: after a test of the command line, the second one would end the test process."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module", params=KINDS)
def whole(request, tmp_path_factory):
    noted.end_at = None
    CALLS.clear()
    trainer = made(tmp_path_factory.mktemp("whole"), request.param)
    trainer.train()
    return request.param, outcome(trainer), len(CALLS)


@pytest.mark.parametrize(
    "share", [0.55, pytest.param(0.8, marks=pytest.mark.slow), pytest.param(1.0, marks=pytest.mark.slow)]
)
def test_a_run_that_ends_at_a_call_goes_on_as_if_it_had_not(whole, tmp_path, starter, share):
    kind, (weights, logs, rollout), calls = whole
    CALLS.clear()
    noted.end_at = int(calls * share)
    broken = made(tmp_path, kind)
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    noted.end_at = None
    assert broken.state.global_step == 4  # in the second rollout, after the first one's steps
    assert broken.save_last_step().name == "checkpoint-4"
    resumed = made(tmp_path, kind)
    resumed.train(resume_from_checkpoint=True)
    after, logged, played = outcome(resumed)
    assert all(torch.equal(value, after[name]) for name, value in weights.items())
    assert logged[-4:] == logs[-4:]
    assert played == rollout
    assert len({len(row["completion"]) for row in rollout}) > 1  # episodes of different lengths


def test_before_the_first_step_there_is_nothing_to_keep(tmp_path, starter):
    CALLS.clear()
    noted.end_at = 2
    broken = made(tmp_path, "tools")
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    noted.end_at = None
    assert broken.save_last_step() is None
