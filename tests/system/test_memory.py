"""What work that ended leaves in memory, in a process that keeps the last error as a notebook does."""

import gc
import weakref

import pytest

from gspo_lite.errors import RunError
from gspo_lite.system.memory import memory_freed


class Model:
    def __init__(self):
        self.trainer = self  # a cycle, as between a trainer and its callbacks


@memory_freed
def work(made, error, cause):
    model = Model()
    made.append(weakref.ref(model))
    try:
        fail(model, cause)
    except ValueError as first:
        raise error from first


def fail(model, cause):
    raise cause


@pytest.fixture(autouse=True)
def collector_off():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("error", [RunError("explained"), KeyboardInterrupt()])
def test_an_explained_error_and_an_interrupt_keep_no_model(error):
    made = []
    with pytest.raises(type(error)) as kept:
        work(made, error, ValueError())
    gc.collect()
    assert kept.value.__traceback__ is not None
    assert made[0]() is None


def test_an_unexpected_error_keeps_its_locals_for_the_debugger():
    made = []
    with pytest.raises(TypeError) as kept:
        work(made, TypeError("unexpected"), ValueError())
    assert made[0]() is not None
    assert kept.value.__cause__ is not None


def test_what_only_cycles_hold_is_freed_at_once():
    made = []
    memory_freed(lambda: made.append(weakref.ref(Model())))()
    assert made[0]() is None


def test_a_cycle_with_an_object_that_was_frozen_is_freed():
    made = []

    @memory_freed
    def work_after_imports():
        reward = Model()
        gc.freeze()  # as after the libraries are imported
        reward.trainer = trainer = Model()
        trainer.reward = reward
        made.append(weakref.ref(trainer))

    work_after_imports()
    assert made[0]() is None
