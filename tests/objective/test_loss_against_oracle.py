"""`gspo_loss` against the hand-derived twin in `objective_oracle.py`, on 630 generated cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gspo_lite.objective import gspo_loss
from tests.objective.objective_cases import LOSS_TYPES, build, settings
from tests.objective.objective_oracle import objective

SETTINGS = list(settings())
GROUPS = sorted({(level, loss_type) for _, level, loss_type, *_ in SETTINGS})


def run(new, old, mask, advantages, ref, options, dtype):
    """Loss output and gradient of the package, on tensors of `dtype`."""

    def tensor(values):
        return None if values is None else torch.tensor(values, dtype=dtype)

    logps = tensor(new).requires_grad_()
    output = gspo_loss(logps, tensor(old), tensor(mask), tensor(advantages), ref_per_token_logps=tensor(ref), **options)
    output.loss.backward()
    return output, logps.grad.double().numpy()


def gap(found, expected):
    """Largest difference, relative where the expected values are above 1."""
    expected = np.asarray(expected, dtype=float)
    return float(np.max(np.abs(np.asarray(found, dtype=float) - expected)) / max(1.0, float(np.max(np.abs(expected)))))


def near_a_bound(ratio, options):
    """Whether float32 rounding could move a ratio over one of the bounds."""
    bounds = [1 - options["epsilon"], 1 + options["epsilon_high"], options["delta"] or 1.0]
    return any(np.any((np.abs(ratio - bound) < 1e-6) & (ratio != 1.0)) for bound in bounds)


def cases_of(level, loss_type):
    for setting in SETTINGS:
        if setting[1:3] == (level, loss_type):
            yield setting[0], build(*setting)


def test_the_table_covers_what_it_should():
    assert len(SETTINGS) == 630
    regimes = {"low": 0, "high": 0, "free": 0, "delta": 0, "on-policy": 0, "no token": 0}
    for setting in SETTINGS:
        new, old, mask, advantages, ref, options = build(*setting)
        answer = objective(new, old, mask, advantages, ref=ref, **options)
        regimes["low"] += answer.clip_low > 0
        regimes["high"] += answer.clip_high > 0
        regimes["free"] += answer.clip_low == answer.clip_high == 0
        regimes["delta"] += options["delta"] is not None and bool((answer.ratio * mask > options["delta"]).any())
        regimes["on-policy"] += old is None
        regimes["no token"] += not mask.any()
    assert min(regimes.values()) >= 40, regimes


@pytest.mark.parametrize(("level", "loss_type"), GROUPS)
def test_loss_and_gradient_equal_the_twin_in_float64(level, loss_type):
    for seed, (new, old, mask, advantages, ref, options) in cases_of(level, loss_type):
        expected = objective(new, old, mask, advantages, ref=ref, **options)
        output, gradient = run(new, old, mask, advantages, ref, options, torch.float64)
        assert gap(output.loss.item(), expected.loss) < 1e-10, (seed, options)
        assert gap(gradient, expected.gradient) < 1e-10, (seed, options)
        assert gap(output.ratio.expand(new.shape) * torch.tensor(mask), expected.ratio * mask) < 1e-12, (seed, options)


@pytest.mark.parametrize(("level", "loss_type"), GROUPS)
def test_logged_means_equal_the_twin(level, loss_type):
    for seed, (new, old, mask, advantages, ref, options) in cases_of(level, loss_type):
        expected = objective(new, old, mask, advantages, ref=ref, **options)
        output, _ = run(new, old, mask, advantages, ref, options, torch.float64)
        assert output.clip_low.item() == pytest.approx(expected.clip_low, abs=1e-6), (seed, options)
        assert output.clip_high.item() == pytest.approx(expected.clip_high, abs=1e-6), (seed, options)
        assert (output.kl is None) == (expected.kl is None)
        if expected.kl is not None:
            assert output.kl.item() == pytest.approx(expected.kl, abs=1e-10), (seed, options)


@pytest.mark.parametrize(("level", "loss_type"), GROUPS)
def test_float32_stays_within_rounding_of_the_twin(level, loss_type):
    compared = 0
    for seed, (new, old, mask, advantages, ref, options) in cases_of(level, loss_type):
        # The twin gets what float32 can hold, so that only the arithmetic differs.
        arrays = [None if values is None else values.astype(np.float32).astype(float) for values in (new, old, ref)]
        advantages = advantages.astype(np.float32).astype(float)
        expected = objective(arrays[0], arrays[1], mask, advantages, ref=arrays[2], **options)
        if near_a_bound(expected.ratio, options):
            continue
        output, gradient = run(arrays[0], arrays[1], mask, advantages, arrays[2], options, torch.float32)
        assert output.loss.dtype == torch.float32
        assert gap(output.loss.item(), expected.loss) < 1e-5, (seed, options)
        assert gap(gradient, expected.gradient) < 1e-5, (seed, options)
        compared += 1
    assert compared >= 30


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("beta", [0.0, 0.2])
def test_sequence_token_is_sequence_when_advantages_are_one_per_sequence(loss_type, beta):
    for setting in SETTINGS[::3]:
        new, old, mask, advantages, _, options = build(*setting)
        advantages = advantages if advantages.ndim == 1 else advantages[:, 0]
        ref = new + 0.1 if beta else None
        options |= {"loss_type": loss_type, "beta": beta, "use_bias_correction_kl": False}
        sequence, gradient = run(new, old, mask, advantages, ref, options | {"level": "sequence"}, torch.float64)
        token, token_gradient = run(
            new, old, mask, advantages, ref, options | {"level": "sequence_token"}, torch.float64
        )
        assert gap(token.loss.item(), sequence.loss.item()) < 1e-12
        assert gap(token_gradient, gradient) < 1e-12


def test_sequence_token_is_not_sequence_when_advantages_differ_from_token_to_token():
    new = np.log([[0.5, 0.25]])
    arguments = (new, new, np.ones((1, 2)), np.array([[1.0, 0.0]]), None)
    options = {"loss_type": "grpo", "epsilon": 0.2, "epsilon_high": 0.2}
    _, spread = run(*arguments, options | {"level": "sequence"}, torch.float64)
    _, placed = run(*arguments, options | {"level": "sequence_token"}, torch.float64)
    assert spread.tolist() == [[-0.25, -0.25]]  # s_i depends on both tokens alike
    assert placed.tolist() == [[-0.5, 0.0]]  # the credited token alone
