"""Rotation, what is kept of a rollout, and what is never written."""

import math

import pytest
import torch

from gspo_lite.training.checkpoint.manifest import publish, rotate
from gspo_lite.training.checkpoint.numeric_state import all_finite, not_finite, random_states, restore_random_states
from gspo_lite.training.checkpoint.rollout_state import read_state, write_state


def folders(path):
    return sorted(one.name for one in path.iterdir())


def test_rotation_keeps_the_newest_whatever_the_limit(tmp_path):
    for step in (2, 4, 6, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
    rotate(tmp_path, tmp_path / "checkpoint-6", 2)  # 10 is a broken one from before
    assert folders(tmp_path) == ["checkpoint-10", "checkpoint-6"]
    rotate(tmp_path, tmp_path / "checkpoint-6", 1)
    assert folders(tmp_path) == ["checkpoint-6"]
    rotate(tmp_path, tmp_path / "checkpoint-6", None)
    assert folders(tmp_path) == ["checkpoint-6"]


def test_a_finished_checkpoint_takes_the_place_of_a_broken_one(tmp_path):
    for name in ("checkpoint-4", "new"):
        (tmp_path / name).mkdir()
    (tmp_path / "new" / "weights").write_text("x")
    publish(tmp_path / "new", tmp_path / "checkpoint-4")
    assert folders(tmp_path) == ["checkpoint-4"]
    assert (tmp_path / "checkpoint-4" / "weights").read_text() == "x"


def test_a_rollout_comes_back_as_it_was(tmp_path):
    shared = torch.arange(6).reshape(2, 3)
    batches = [
        {"ids": shared, "view": shared.t(), "mask": torch.tensor([True, False]), "none": None, "n": 2, "s": "tensor"},
        {"half": torch.tensor(0.1, dtype=torch.bfloat16), "images": [[torch.ones(1)], []], "text": "tensor?"},
    ]
    write_state(tmp_path, {"passes": 3}, batches)
    facts, back = read_state(tmp_path, "cpu")
    assert facts == {"passes": 3}
    assert torch.equal(back[0]["ids"], shared)
    assert torch.equal(back[0]["view"], shared.t())
    assert back[0]["mask"].dtype == torch.bool
    assert torch.equal(back[1]["half"], batches[1]["half"])
    assert torch.equal(back[1]["images"][0][0], torch.ones(1))
    assert (back[0]["none"], back[0]["n"], back[0]["s"], back[1]["images"][1]) == (None, 2, "tensor", [])


def test_between_rollouts_there_is_nothing_to_keep(tmp_path):
    write_state(tmp_path, {"passes": 4}, None)
    assert read_state(tmp_path, "cpu") == ({"passes": 4}, None)
    assert read_state(tmp_path / "nowhere", "cpu") == ({}, None)


def test_what_cannot_be_kept_of_a_rollout_is_named(tmp_path):
    with pytest.raises(TypeError, match="a object at `/0/x`"):
        write_state(tmp_path, {}, [{"x": object()}])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_named(bad):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert not_finite(model, optimizer) is None
    optimizer.state[model.bias]["exp_avg"][0] = bad
    assert not_finite(model, optimizer) == "exp_avg of bias"
    model.weight.data[1, 1] = bad
    assert not_finite(model, optimizer) == "weight"
    assert all_finite([])
    assert not all_finite([torch.ones(2), model.weight.data])


def test_random_numbers_are_turned_back():
    import random

    import numpy as np

    states = random_states()
    first = (random.random(), np.random.rand(), torch.rand(1).item())
    restore_random_states(states)
    assert first == (random.random(), np.random.rand(), torch.rand(1).item())
