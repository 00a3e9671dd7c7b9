"""Measures the noise of a recipe's ratio before anything is learned: one rollout, scored twice by the same weights.

GSPO's clip is narrow, 3e-4. Old and new log-probabilities are computed in different ways (batches, kernels, 4-bit
weights, number types), so log s_i of an unchanged policy is not 0, and a clip within that noise cuts at random. The
run's own trainer takes all its steps on one rollout with a learning rate of 0.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gspo_lite.checked_recipe import refuse
from gspo_lite.errors import RunError
from gspo_lite.load_parts import Parts, load_parts
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system.quiet import quietly


@dataclass(frozen=True)
class Noise:
    """log s_i of an unchanged policy over n sequences, with s_i as in arXiv 2507.18071, equation 7.

    Attributes:
        floor: standard deviation of log s_i; mean, low and high are of log s_i too.
        outside: share of sequences whose s_i is outside the clip range.
    """

    n: int
    floor: float
    mean: float
    low: float
    high: float
    outside: float


@dataclass(frozen=True)
class Probe:
    """The figures that `gspo-lite probe` prints.

    Attributes:
        trainer: the trainer's old log-probs against those of its training pass.
        sampler: the sampler's log-probs against the trainer's old ones; None if the sampler returns none.
        smallest_epsilon: the narrowest clip that does not cut noise.
    """

    algorithm: str
    epsilon: float
    epsilon_high: float
    trainer: Noise
    sampler: Noise | None
    smallest_epsilon: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values, for --json."""
        return asdict(self)


@quietly
def probe(recipe: Recipe) -> Probe:
    """Measure the noise of a recipe's ratios on this machine; raise what `run` raises for parts it cannot load."""
    refuse(recipe)
    parts = load_parts(recipe)
    with tempfile.TemporaryDirectory(prefix="gspo-lite-probe-") as folder:
        seen = unchanged_policy(parts, Path(folder))
    from gspo_lite.training.watch.callbacks import smallest_epsilon

    objective = recipe.objective
    high = objective.epsilon_high or objective.epsilon
    trainer = noise(seen["trainer"], objective.epsilon, high)
    sampler = noise(seen["sampler"], objective.epsilon, high) if seen["sampler"] else None
    return Probe(objective.algorithm, objective.epsilon, high, trainer, sampler, smallest_epsilon(trainer.floor))


def unchanged_policy(parts: Parts, folder: Path) -> dict[str, list[float]]:
    """Return log s_i of every sequence of one rollout for trainer and sampler, with no weight changed."""
    import torch

    from gspo_lite.training import build

    args = parts.args
    args.output_dir, args.learning_rate, args.warmup_steps = str(folder), 0.0, 0
    args.max_steps, args.save_strategy, args.report_to = int(parts.recipe.training.updates_per_rollout) or 1, "no", []
    args.eval_strategy, args.load_best_model_at_end = "no", False
    loaded, problems = parts.loaded, parts.problems
    trainer = build.build_trainer(
        parts.recipe, folder, loaded.model, loaded.processing_class, parts.rewards, problems.train, args,
        tools=parts.tools,
        measure_noise=True,
    )  # fmt: skip
    trained = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    before = [parameter.detach().clone() for parameter in trained]
    build.train(trainer, folder, resume=False)
    if not all(torch.equal(old, new) for old, new in zip(before, trained, strict=True)):
        raise RunError("weights changed at a learning rate of 0, so the measured values are not noise alone")
    assert trainer.gauges.kept is not None
    return trainer.gauges.kept


def noise(log_s: list[float], epsilon: float, epsilon_high: float) -> Noise:
    """Return the figures of these log s_i for a clip range."""
    n = len(log_s)
    mean = math.fsum(log_s) / n
    floor = math.sqrt(math.fsum((value - mean) ** 2 for value in log_s) / n)
    outside = sum(not 1 - epsilon <= math.exp(value) <= 1 + epsilon_high for value in log_s) / n
    return Noise(n, floor, mean, min(log_s), max(log_s), outside)


def lines_of(found: Probe) -> list[str]:
    """Return the printed lines."""
    clip = f"[1 - {found.epsilon:.1e}, 1 + {found.epsilon_high:.1e}]"
    pairs = [("trainer's old and new log-probs", found.trainer), ("sampler and trainer", found.sampler)]
    lines = [f"{found.trainer.n} sequences of an unchanged policy, {found.algorithm}, clip {clip}"]
    for name, one in pairs:
        if one is None:
            lines.append(f"{name}: this engine does not return log-probs")
            continue
        if one.low == one.high == 0:
            lines.append(f"{name}: identical, log s = 0: no noise")
            continue
        lines.append(f"{name}: noise floor sd(log s) {one.floor:.1e}, mean {one.mean:.1e}")
        lines.append(f"  log s from {one.low:.1e} to {one.high:.1e}; {one.outside:.1%} of sequences outside the clip")
    return [*lines, verdict(found)]


def verdict(found: Probe) -> str:
    """Return advice on epsilon."""
    if found.smallest_epsilon == 0:
        return f"any epsilon makes sense here; the recipe has {found.epsilon:.1e}"
    smallest = f"the smallest epsilon that makes sense here is {found.smallest_epsilon:.1e}, 4 x the noise floor"
    if found.epsilon >= found.smallest_epsilon:
        return f"{smallest}; the recipe's {found.epsilon:.1e} is wide enough"
    hint = "hint: raise objective.epsilon and epsilon_high, or use a wider model.dtype"
    return f"{smallest}; the recipe's {found.epsilon:.1e} would cut noise\n{hint}"
