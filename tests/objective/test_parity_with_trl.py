"""`gspo_loss` against the installed TRL's own loss, called on a stand-in for its trainer."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from gspo_lite.objective import gspo_loss
from tests.objective.objective_cases import build, settings

STEPS_PER_GENERATION = 8


class OneProcess:
    """The part of an accelerator that TRL's loss asks for, on a single process."""

    num_processes = 1
    sync_gradients = True

    def reduce(self, tensor, reduction):
        return tensor

    def gather(self, tensor):
        return tensor


def stand_in(logps, options):
    """What TRL's `_compute_loss` reads of its trainer."""
    return SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logps, torch.zeros_like(logps), None),
        accelerator=OneProcess(),
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(
            delta=options["delta"],
            use_bias_correction_kl=options["use_bias_correction_kl"],
            steps_per_generation=STEPS_PER_GENERATION,
        ),
        importance_sampling_level=options["level"],
        loss_type=options["loss_type"],
        epsilon_low=options["epsilon"],
        epsilon_high=options["epsilon_high"],
        beta=options["beta"],
        max_completion_length=options["max_completion_length"],
        current_gradient_accumulation_steps=options["gradient_accumulation_steps"],
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
    )


def trl_loss(trainer_class, new, old, mask, advantages, ref, options, items_in_rollout):
    """Loss, gradient and metrics that TRL computes for the same tensors."""
    logps = new.clone().requires_grad_()
    trainer = stand_in(logps, options)
    ids = torch.zeros(new.shape, dtype=torch.long)
    inputs = {
        "prompt_ids": ids,
        "prompt_mask": ids,
        "completion_ids": ids,
        "completion_mask": mask,
        "advantages": advantages,
        "num_items_in_batch": torch.tensor(float(items_in_rollout)),
    }
    inputs |= {} if old is None else {"old_per_token_logps": old}
    inputs |= {} if ref is None else {"ref_per_token_logps": ref}
    loss = trainer_class._compute_loss(trainer, None, inputs)
    loss.backward()
    return loss.item(), logps.grad, {name: values[0] for name, values in trainer._metrics["train"].items()}


def border_is_flat():
    """Whether the gradient of `clamp` is 0 at its border, as from torch 2.15 on; TRL's loss then halves it there."""
    edge = torch.ones((), requires_grad=True)
    edge.clamp(max=1.0).backward()
    return edge.grad == 0


def test_loss_gradient_and_metrics_are_those_of_the_installed_trl():
    from trl import GRPOTrainer

    compared, flat = 0, border_is_flat()
    for setting in settings():
        if setting[1] == "sequence_token":  # TRL has none
            continue
        *arrays, options = build(*setting)
        new, old, mask, advantages, ref = [None if a is None else torch.tensor(a, dtype=torch.float64) for a in arrays]
        # At least 1 token per optimizer step: TRL bounds the count before it rescales.
        items = int(mask.sum()) * 3 + STEPS_PER_GENERATION
        expected, gradient, metrics = trl_loss(GRPOTrainer, new, old, mask, advantages, ref, options, items)
        options["num_items_in_batch"] = items * options["gradient_accumulation_steps"] / STEPS_PER_GENERATION
        logps = new.clone().requires_grad_()
        output = gspo_loss(logps, old, mask, advantages, ref_per_token_logps=ref, **options)
        output.loss.backward()
        where = (setting, options)
        assert output.loss.item() == pytest.approx(expected, rel=1e-12, abs=1e-12), where
        if not (flat and old is None and options["epsilon"] == 0):  # every ratio is on the border of the clip range
            assert torch.allclose(logps.grad, gradient, rtol=1e-12, atol=1e-14), where
        if new.shape[1] > 1:  # at T = 1 TRL counts padding
            assert output.clip_low.item() == pytest.approx(metrics["clip_ratio/low_mean"], abs=1e-6), where
            assert output.clip_high.item() == pytest.approx(metrics["clip_ratio/high_mean"], abs=1e-6), where
            if ref is not None:
                assert output.kl.item() == pytest.approx(metrics["kl"], abs=1e-12), where
        compared += 1
    assert compared == 420
