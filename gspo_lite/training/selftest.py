"""The numeric self-test at the start of a run: does the installed trainer compute what `objective.py` says?

TRL and Unsloth change their losses between versions, sometimes silently. Therefore the installed loss is called on a
small batch, and its value and gradient are compared with the definition in float64. An installation that computes
something else is refused; a loss without a definition is not compared. Must not know recipes or models.
"""

from __future__ import annotations

import ast
import inspect
import logging
import textwrap
from collections import defaultdict
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

from gspo_lite.errors import MachineError, UsageError
from gspo_lite.objective import LOSS_TYPES, gspo_loss
from gspo_lite.system.environment import installed as version_of
from gspo_lite.training.loss.rows import OLD
from gspo_lite.training.loss.stock import LEVEL
from gspo_lite.training.loss.unsloth import generated_module
from gspo_lite.training.watch.gauges import RatioGauges

BY_RATIO = (*LOSS_TYPES, "cispo", "sapo")  # losses of the ratio alone, which `sequence_token` replaces
TOLERANCE = 1e-5  # relative, of loss and gradient in float32; measured gaps are below 1e-6
ROWS, WIDTH = 6, 9


def self_test(trainer_class: type, args: Any) -> dict[str, float]:
    """Return the relative gaps of loss and gradient; empty for a loss that `objective.py` does not define.

    Args:
        trainer_class: `GSPOTrainer`, on top of the installed trainer.
        args: the trainer's configuration.

    Raises:
        UsageError: the loss type is not installed, or not exact at the level.
        MachineError: a gap is above 1e-5, or the installed loss cannot be called as expected.
    """
    module = generated_module(trainer_class)
    refuse_loss(args, loss_types_in(module.grpo_compute_loss if module else stock_of(trainer_class)._compute_loss))
    if args.loss_type not in LOSS_TYPES:
        logging.getLogger(__name__).warning(remark(args))
        return {}
    batch = make_batch(args)
    try:
        loss, gradient = unsloth_loss(module, args, batch) if module else stock_loss(trainer_class, args, batch)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise refusal(args, f"the installed loss cannot be called: {type(error).__name__}: {error}") from error
    expected_loss, expected_gradient = defined_loss(args, batch)
    gaps = {
        "loss": float((loss.double() - expected_loss).abs() / expected_loss.abs()),
        "gradient": float((gradient.double() - expected_gradient).norm() / expected_gradient.norm()),
    }
    if not max(gaps.values()) < TOLERANCE:
        raise refusal(args, f"relative gap of the loss {gaps['loss']:.1e}, of its gradient {gaps['gradient']:.1e}")
    return gaps


def loss_types_in(loss: Any) -> list[str]:
    """Return the names that the source of a loss compares its loss type with."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(loss)))
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    values = [test.comparators[0] for test in tests if ast.unparse(test.left) in ("loss_type", "self.loss_type")]
    return sorted({str(name.value) for value in values for name in ast.walk(value) if isinstance(name, ast.Constant)})


def refuse_loss(args: Any, known: list[str]) -> None:
    """Refuse a loss type that is not known, or would not be exact at the level."""
    level = args.importance_sampling_level
    allowed = [f"`{name}`" for name in known if level != LEVEL or name in BY_RATIO]
    if f"`{args.loss_type}`" not in allowed:
        takes = f"the installed trainer at level `{level}` takes {', '.join(allowed)}"
        raise UsageError(f"`loss_type` is `{args.loss_type}`; {takes}")


def remark(args: Any) -> str:
    """Return a warning about a loss that `objective.py` does not define."""
    text = f"loss_type `{args.loss_type}` has no definition to compare it with; it is trained as installed"
    cap = args.epsilon if args.epsilon_high is None else args.epsilon_high
    if args.loss_type == "cispo" and cap < 1:
        text += f". Its weights are capped at epsilon_high {cap:g}, which is below every ratio; 5 is usual"
    return text


def make_batch(args: Any) -> dict[str, torch.Tensor]:
    """Return an off-policy batch (6, 9) with rows of different lengths, some beyond the clip."""
    draw = torch.Generator().manual_seed(0)
    old = -torch.rand(ROWS, WIDTH, generator=draw) - 0.5
    new = old + 2 * args.epsilon * torch.randn(ROWS, WIDTH, generator=draw)
    lengths = torch.tensor([9, 5, 7, 2, 8, 4])
    per_token = args.importance_sampling_level == "sequence_token"
    return {
        "old": old,
        "new": new,
        "ref": new + 0.1 * torch.randn(ROWS, WIDTH, generator=draw),
        "mask": (torch.arange(WIDTH) < lengths[:, None]).long(),
        "advantages": torch.randn((ROWS, WIDTH) if per_token else (ROWS,), generator=draw),
    }


def defined_loss(args: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return loss and gradient by `objective.py`, in float64."""
    new = batch["new"].double().requires_grad_()
    loss = gspo_loss(
        new, batch["old"].double(), batch["mask"], batch["advantages"].double(), level=args.importance_sampling_level,
        epsilon=args.epsilon, beta=args.beta, ref_per_token_logps=batch["ref"].double() if args.beta else None,
        num_items_in_batch=batch["mask"].sum(), **settings(args),
    ).loss  # fmt: skip
    loss.backward()
    return loss.detach(), new.grad


def settings(args: Any) -> dict[str, Any]:
    """Return the settings that have the same name in the definition, in TRL and in Unsloth."""
    return {
        "loss_type": args.loss_type,
        "epsilon_high": args.epsilon if args.epsilon_high is None else args.epsilon_high,
        "delta": args.delta,
        "use_bias_correction_kl": args.use_bias_correction_kl,
        "max_completion_length": WIDTH,
    }


def stock_loss(trainer_class: type, args: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return loss and gradient by TRL's own `_compute_loss`, on an uninitialized trainer without a model."""
    new = batch["new"].clone().requires_grad_()
    trainer: Any = object.__new__(with_fixed_logps(trainer_class, new))
    vars(trainer).update(trainer_fields(args))
    prompt = torch.zeros(ROWS, 1, dtype=torch.long)
    inputs = {
        "prompt_ids": prompt, "prompt_mask": prompt + 1,
        "completion_ids": torch.zeros_like(batch["mask"]), "completion_mask": batch["mask"],
        "advantages": batch["advantages"], "num_items_in_batch": batch["mask"].sum(),
        OLD: batch["old"], "ref_per_token_logps": batch["ref"],
    }  # fmt: skip
    loss = trainer._compute_loss(None, inputs)
    loss.backward()
    return loss.detach(), new.grad


def stock_of(trainer_class: type) -> Any:
    """Return TRL's own trainer among the bases."""
    return next(base for base in trainer_class.__mro__ if base.__name__ == "GRPOTrainer")


def with_fixed_logps(trainer_class: type, new: torch.Tensor) -> type:
    """Return the trainer's class on a base whose forward pass returns these log-probs (B, T)."""
    stock = stock_of(trainer_class)
    mixins = trainer_class.__bases__[: trainer_class.__bases__.index(stock)]

    class FixedLogps(stock):  # type: ignore[misc, valid-type]
        def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
            return new, torch.zeros_like(new), None

    return type("SelfTestTrainer", (*mixins, FixedLogps), {})


def trainer_fields(args: Any) -> dict[str, Any]:
    """Return the attributes that `_compute_loss` reads, for one process without accumulation."""
    accelerator = SimpleNamespace(
        num_processes=1, sync_gradients=True, gather=lambda x: x, gather_for_metrics=lambda x: x,
        reduce=lambda x, reduction: x,
    )  # fmt: skip
    off = ("use_vllm", "vllm_importance_sampling_correction", "aux_loss_enabled", "use_adaptive_entropy")
    return settings(args) | dict.fromkeys((*off, "_entropy_bonus_enabled"), False) | {
        "importance_sampling_level": args.importance_sampling_level, "epsilon_low": args.epsilon, "beta": args.beta,
        "args": SimpleNamespace(**settings(args), steps_per_generation=1),
        "accelerator": accelerator,
        "model": SimpleNamespace(training=True),
        "current_gradient_accumulation_steps": 1, "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None,
        "gauges": RatioGauges(args.importance_sampling_level, args.epsilon, args.epsilon),
        "_metrics": defaultdict(lambda: defaultdict(list)),
    }  # fmt: skip


def unsloth_loss(module: ModuleType, args: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return loss and gradient by the `grpo_compute_loss` of Unsloth's generated module."""
    new = batch["new"].clone().requires_grad_()
    advantages = batch["advantages"]
    loss = module.grpo_compute_loss(
        batch["ref"] if args.beta else None, new, batch["old"], None, torch.zeros_like(batch["mask"]), batch["mask"],
        args.beta, advantages.unsqueeze(1) if advantages.dim() == 1 else advantages,
        importance_sampling_level=args.importance_sampling_level, epsilon_low=args.epsilon,
        num_items_in_batch=batch["mask"].sum(), **settings(args),
    )[0]  # fmt: skip
    loss.backward()
    return loss.detach(), new.grad


def refusal(args: Any, what: str) -> MachineError:
    """Return the error for an installation that differs from the definition."""
    names = ("trl", "unsloth", "transformers", "torch")
    versions = ", ".join(f"{name} {version_of(name) or 'not installed'}" for name in names)
    return MachineError(
        f"the installed trainer does not compute `{args.importance_sampling_level}` with loss_type "
        f"`{args.loss_type}` as defined: {what} ({versions})",
        "install the versions that were tested, or open an issue with this message",
    )
