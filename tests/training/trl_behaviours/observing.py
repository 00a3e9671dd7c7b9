"""Runs one behaviour on a trainer and compares what was seen of two."""

from __future__ import annotations

import logging
import math
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer

from gspo_lite import GSPOConfig, GSPOTrainer
from gspo_lite.models.sampler import sampling_by_rows
from gspo_lite.training.loss.groups import WholeGroups
from tests.training.trl_behaviours.behaviour import SETTINGS, Behaviour

# Fields whose defaults are the paper's in GSPOConfig.
TRLS = ("importance_sampling_level", "loss_type", "epsilon", "epsilon_high", "use_bias_correction_kl")
CLOCK = ("step_time", "runtime", "per_second", "preparation_time", "profiling/")
OURS = (
    "gspo/",
    "tools/",
    "turns/",
    "tokens/",
    "/none_count",
    "/error_count",
    "/seconds",
    "entropy_active_rows",
    "vespo/phi_active_rows",
)
OF_ACTIVE_ROWS = {"entropy": "entropy_active_rows", "vespo/phi_seq_mean": "vespo/phi_active_rows"}


@dataclass
class Seen:
    """What a user of a trainer sees.

    Attributes:
        error: the type of what was raised; None if nothing was.
        warned: what TRL said.
        sampled: ids of every prompt and completion, in order.
        start, weights: all parameters before and after.
        logs: the log history.
        found: what the behaviour's `act` returned.
    """

    error: str | None = None
    warned: list[str] = field(default_factory=list)
    sampled: list[Any] = field(default_factory=list)
    start: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    weights: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    logs: list[dict[str, Any]] = field(default_factory=list)
    found: Any = None


def observed(behaviour: Behaviour, trainer_class: type, folder: Path) -> Seen:
    """Return what a behaviour shows on a trainer, which writes into a folder of its own."""
    seen = Seen()
    listener = Listener(seen.warned)
    logging.getLogger("trl").addHandler(listener)
    try:
        trainer = built(behaviour, trainer_class, folder)
        record(trainer, seen.sampled)
        seen.start = parameters(trainer.model)
        try:
            seen.found = behaviour.act(trainer)
        finally:
            seen.weights, seen.logs = parameters(trainer.model), trainer.state.log_history
    except Exception as error:
        seen.error = type(error).__name__
        logging.getLogger(__name__).debug("%s", seen.error, exc_info=True)
    finally:
        logging.getLogger("trl").removeHandler(listener)
    return seen


class Stock(WholeGroups, GRPOTrainer):
    """TRL's trainer, whose optimizer steps have the rows that ours have, and which samples what ours samples."""

    def _generate(self, prompts: list[Any]) -> Any:
        with nullcontext() if self.use_vllm else sampling_by_rows(self.model):
            return super()._generate(prompts)


class Listener(logging.Handler):
    """Keeps the first words of each warning."""

    def __init__(self, heard: list[str]):
        super().__init__(logging.WARNING)
        self.heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage()[:60])


def built(behaviour: Behaviour, trainer_class: type, folder: Path) -> Any:
    """Return the trainer; `GSPOTrainer` gets TRL's own configuration, or ours with TRL's values."""
    given = {"output_dir": str(folder), **SETTINGS, **behaviour.settings, **behaviour.late_settings()}
    if trainer_class is GSPOTrainer and behaviour.config:
        defaults = {name: GRPOConfig.__dataclass_fields__[name].default for name in TRLS}
        args: Any = GSPOConfig(**{**defaults, **given})
    else:
        args = GRPOConfig(**given)
    parts = {"args": args, "reward_funcs": behaviour.rewards(), "train_dataset": behaviour.rows(), **behaviour.model()}
    torch.manual_seed(0)
    return trainer_class(**{**parts, **behaviour.options()})


def record(trainer: Any, sampled: list[Any]) -> None:
    """Keep the ids of every prompt and completion that a trainer generates."""
    generate = trainer._generate

    def recorded(prompts: list[Any]) -> Any:
        output = generate(prompts)
        sampled.append((output[0], output[1]))
        return output

    trainer._generate = recorded


def parameters(model: Any) -> torch.Tensor:
    return torch.cat([p.detach().float().flatten() for _, p in sorted(model.named_parameters())])


def differences(ours: Seen, stock: Seen, tolerance: float) -> set[str]:
    """Return what differs, by name; `training` for samples, weights and figures, where these follow from each other."""
    plain = ("error", "warned", "sampled", "found")
    if ours.error != stock.error:
        return {"error"}
    found = {name for name in plain if not same(getattr(ours, name), getattr(stock, name))}
    if "sampled" in found or not same_weights(ours, stock, tolerance):
        return found - {"sampled"} | {"training"}
    if len(ours.logs) != len(stock.logs):
        return found | {"logs"}
    return found.union(*(other_metrics(*pair) for pair in zip(ours.logs, stock.logs, strict=True)))


def same_weights(ours: Seen, stock: Seen, tolerance: float) -> bool:
    """Return whether training began at the same weights and moved them alike, up to rounding."""
    if ours.weights.shape != stock.weights.shape or not torch.equal(ours.start, stock.start):
        return False
    moved = float((stock.weights - stock.start).norm())
    return float((ours.weights - stock.weights).norm()) <= tolerance * moved


def other_metrics(ours: dict[str, Any], stock: dict[str, Any]) -> set[str]:
    """Return the metrics of TRL that are missing or other, and those of ours that the user was not told of."""
    moved = {name for name, other in OF_ACTIVE_ROWS.items() if other in ours or not ours.get("gspo/computed_share")}
    known = {name for name in stock if not any(one in name for one in CLOCK)} - moved
    new = {name for name in ours if not any(one in name for one in (*CLOCK, *OURS))} - known - moved
    return new | {name for name in known if name not in ours or not same(ours[name], stock[name])}


def same(ours: Any, stock: Any) -> bool:
    """Return whether two values are equal, numbers up to rounding."""
    if isinstance(ours, dict) and isinstance(stock, dict):
        return ours.keys() == stock.keys() and all(same(ours[name], stock[name]) for name in ours)
    if isinstance(ours, list | tuple) and isinstance(stock, list | tuple):
        return len(ours) == len(stock) and all(map(same, ours, stock))
    if isinstance(ours, float) and isinstance(stock, float):
        return (math.isnan(ours) and math.isnan(stock)) or math.isclose(ours, stock, rel_tol=2e-4, abs_tol=2e-5)
    return bool(ours == stock)


def both(behaviour: Behaviour, folder: Path) -> tuple[Seen, Seen]:
    """Return what is seen of `GSPOTrainer` and of TRL's; each wrote into a folder of the same name, as cards have."""
    return observed(behaviour, GSPOTrainer, folder / "ours" / "run"), observed(
        behaviour, Stock, folder / "stock" / "run"
    )
