"""Generated inputs for the objective, from a seed: levels, loss types, credit, KL and clip regimes combined."""

from __future__ import annotations

import itertools

import numpy as np

LEVELS = ("token", "sequence", "sequence_token")
LOSS_TYPES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")
SHAPES = ((1, 1), (2, 5), (4, 3), (3, 8), (8, 17))
MASKS = ("full", "ragged", "empty_row", "holes", "nothing")
REGIMES = (  # epsilon, epsilon_high, spread of the log ratio, delta
    (3e-4, 4e-4, 1e-4, None),
    (3e-4, 4e-4, 1e-3, None),
    (0.2, 0.2, 0.6, None),
    (0.2, 0.28, 1.0, 2.0),
    (3e-4, 4e-4, 2e-3, 1.001),
    (0.2, 0.2, 0.5, 1.1),  # delta inside the clip range
    (0.0, 0.0, 0.1, None),
)
KL = ((0.0, False), (0.04, False), (0.3, True))


def settings():
    """Yield (seed, level, loss_type, advantage dims, regime, kl): 630 combinations, shapes and masks taken in turn."""
    combinations = itertools.product(LEVELS, LOSS_TYPES, (1, 2), REGIMES, KL)
    for seed, combination in enumerate(combinations):
        yield (seed, *combination)


def build(seed, level, loss_type, dims, regime, kl):
    """Arrays and options of one case; the on-policy ones have `old` None."""
    epsilon, epsilon_high, spread, delta = regime
    beta, corrected = kl
    rng = np.random.default_rng(seed)
    rows, columns = SHAPES[seed % len(SHAPES)]
    mask = build_mask(MASKS[(seed // 5) % len(MASKS)], rows, columns, rng)
    new = -rng.gamma(1.0, 1.0, (rows, columns))
    old = None if seed % 11 == 0 else new - rng.normal(0, spread, (rows, columns)) - rng.normal(0, spread, (rows, 1))
    advantages = rng.normal(0, 1, (rows,) if dims == 1 else (rows, columns))
    advantages.flat[0] = 0.0 if seed % 3 == 0 else advantages.flat[0]
    options = {
        "level": level,
        "loss_type": loss_type,
        "epsilon": epsilon,
        "epsilon_high": epsilon_high,
        "delta": delta,
        "beta": beta,
        "use_bias_correction_kl": corrected,
        "max_completion_length": columns + 3,
        "num_items_in_batch": None if seed % 2 else int(mask.sum()) * 2 + 3,
        "gradient_accumulation_steps": 1 + seed % 4,
    }
    ref = None if beta == 0 else new + rng.normal(0, 0.3, (rows, columns))
    return new, old, mask, advantages, ref, options


def build_mask(kind, rows, columns, rng):
    """A 0/1 mask (rows, columns): no padding, right padding, one row empty, holes as tool output leaves, nothing."""
    lengths = rng.integers(1, columns + 1, (rows, 1))
    ragged = (np.arange(columns) < lengths).astype(float)
    if kind == "full":
        return np.ones((rows, columns))
    if kind == "empty_row":
        ragged[rows // 2] = 0
    if kind == "holes":
        ragged[:, ::3] = 0
    return np.zeros((rows, columns)) if kind == "nothing" else ragged
