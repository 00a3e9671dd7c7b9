"""The peaks of phases, on a pretended card that only counts."""

from types import SimpleNamespace

import pytest
import torch

from tests.gpu.peaks import Peaks

GIB = 2**30


@pytest.fixture
def card(monkeypatch):
    """A card of 80 GiB with 1 GiB outside of torch; `held` and `peak` are torch's."""
    card = SimpleNamespace(held=0, peak=0)

    def hold(gib):
        card.held = gib
        card.peak = max(card.peak, gib)

    fakes = {
        "init": lambda: None,
        "reset_peak_memory_stats": lambda: setattr(card, "peak", card.held),
        "max_memory_allocated": lambda: card.peak * GIB,
        "max_memory_reserved": lambda: (card.peak + 1) * GIB,
        "memory_reserved": lambda: (card.held + 1) * GIB,
        "mem_get_info": lambda: ((80 - 2 - card.held) * GIB, 80 * GIB),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    card.hold = hold
    return card


def test_each_phase_has_its_own_peak_and_not_that_of_one_inside_it(card):
    peaks = Peaks()
    trainer = SimpleNamespace()

    def sample():
        card.hold(9)
        card.hold(3)

    def step():
        card.hold(5)
        trainer.sample()
        card.hold(4)

    trainer.sample, trainer.step = sample, step
    peaks.watch(trainer, "step", "training")
    peaks.watch(trainer, "sample", "generation")
    card.hold(7)  # while it loads
    card.hold(2)
    trainer.step()
    card.hold(1)
    found = peaks.figures()
    assert {name: found[name]["allocated_gib"] for name in ("loading", "training", "generation")} == {
        "loading": 7, "training": 5, "generation": 9,
    }  # fmt: skip
    assert found["generation"]["reserved_gib"] == 10
    assert (found["context_gib"], found["outside_gib"]) == (1, 1)
