"""No backward pass where every row is clipped: the gradient would be 0, and all the rest is as with it."""

from itertools import count

import pytest
import torch

from gspo_lite.training.loss import stock
from gspo_lite.training.loss.rollout import LeanRollout
from tests.training.test_rows import ACCUMULATED, TOKEN, trained

SLOW = {"learning_rate": 0.05, "max_steps": 8}
SCENARIOS = {
    "gspo": SLOW,
    "gspo accumulation": {**SLOW, **ACCUMULATED},
    "gspo two iterations": {**SLOW, "num_iterations": 2},
    "gspo_token": {**SLOW, **TOKEN},
    "gspo_token credit": {**SLOW, **TOKEN, "credit": True},
    "grpo": {**SLOW, "importance_sampling_level": "token", "epsilon": 0.2},
}
NEVER = {  # each with a gradient beside that of clipped ratios
    "beta": {**SLOW, "beta": 0.1},
    "sapo": {**SLOW, "loss_type": "sapo"},
}


def beyond_the_clip(monkeypatch, every=1):
    """Move the old log-probs of every so manieth micro-batch so that each of its ratios is clipped."""
    exact, calls = LeanRollout._old_logps, count()

    def moved(self, batch):
        advantages = batch["advantages"] if batch["advantages"].dim() == 2 else batch["advantages"].unsqueeze(1)
        far = 0.5 if next(calls) % every == 0 else 0.0
        return exact(self, batch) - far * advantages.sign()

    monkeypatch.setattr(LeanRollout, "_old_logps", moved)


def counted(tmp_path, monkeypatch, options, *, spared=True):
    """Train; return the trainer, its gradients, its micro-batches and the backward passes through the model."""
    counts = {"losses": 0, "passes": 0}
    exact = stock.without_idle_backward
    beyond_the_clip(monkeypatch, every=2)

    def watched(loss, outputs, model):
        if model is None:  # the self-test's
            return loss
        found = exact(loss, outputs, model) if spared else loss
        layer = model.get_base_model().model.layers[0]
        if layer._backward_hooks:
            counts["losses"] += 1
        else:  # from the next micro-batch on; the first is never clipped
            layer.register_full_backward_hook(passed)
        return found

    def passed(*_):
        counts["passes"] += 1

    monkeypatch.setattr(stock, "without_idle_backward", watched)
    trainer, gradients = trained(tmp_path, True, options)
    monkeypatch.undo()
    return trainer, gradients, counts


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_weights_gradients_and_metrics_are_bit_for_bit_those_with_it(scenario, tmp_path, monkeypatch):
    whole, wanted, all_passes = counted(tmp_path, monkeypatch, SCENARIOS[scenario], spared=False)
    lean, found, passes = counted(tmp_path, monkeypatch, SCENARIOS[scenario])
    assert all_passes["passes"] == all_passes["losses"] == passes["losses"]
    assert passes["losses"] - passes["passes"] >= 2
    assert len(found) == len(wanted) >= 4
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, wanted, strict=True))
    pairs = zip(lean.model.parameters(), whole.model.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
    for ours, theirs in zip(lean.state.log_history[:-1], whole.state.log_history[:-1], strict=True):
        assert {k: v for k, v in ours.items() if "time" not in k and "seconds" not in k} == {
            k: v for k, v in theirs.items() if "time" not in k and "seconds" not in k
        }


@pytest.mark.parametrize("scenario", NEVER)
def test_a_loss_with_another_gradient_is_always_followed_back(scenario, tmp_path, monkeypatch):
    _, _, counts = counted(tmp_path, monkeypatch, NEVER[scenario])
    assert counts["passes"] == counts["losses"]
