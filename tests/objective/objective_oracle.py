"""The objective a second time, for checking the first: numpy in float64, token by token, gradient derived by hand.

Shares no code and no vocabulary of tensors with `gspo_lite.objective`. With n_it the share of a token in the loss,

    L = sum_it n_it u_it         u_it = -f(s_it, A_it) + beta k_it s_it^c      c = 1 with bias correction, else 0
    f(s, A) = min( min(s, delta) A , clip(s) A )         k = exp(d) - d - 1,     d = ref - l

    dL/dl_iv = n_iv beta (1 - exp(d_iv)) s_iv^c   +   sum_t n_it (-f'(s_it) + beta k_it c) ds_it/dl_iv

    ds_it/dl_iv =   s_it [t = v]        token
                    s_i / |y_i|         sequence
                    s_i  [t = v]        sequence_token
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Answer:
    """What the objective should give: loss, its gradient (B, T), ratios (B, T) and logged means."""

    loss: float
    gradient: np.ndarray
    ratio: np.ndarray
    clip_low: float
    clip_high: float
    kl: float | None


def objective(
    new,
    old,
    mask,
    advantages,
    *,
    level,
    loss_type,
    epsilon,
    epsilon_high,
    delta=None,
    beta=0.0,
    ref=None,
    use_bias_correction_kl=False,
    max_completion_length=None,
    num_items_in_batch=None,
    gradient_accumulation_steps=1,
) -> Answer:
    """Compute loss and gradient; arrays (B, T), `advantages` (B,) or (B, T), `old` None for on-policy."""
    rows, columns = new.shape
    old = new if old is None else old
    counted = [[t for t in range(columns) if mask[i, t]] for i in range(rows)]
    share = token_shares(counted, loss_type, max_completion_length, num_items_in_batch, gradient_accumulation_steps)
    ratio = np.ones((rows, columns))
    gradient = np.zeros((rows, columns))
    loss, kl_sum = 0.0, 0.0
    low, high, low_rows, high_rows = 0, 0, 0, 0
    for i, tokens in enumerate(counted):
        size = len(tokens)
        mean = math.fsum(new[i, t] - old[i, t] for t in tokens) / size if size else 0.0
        for t in tokens:
            ratio[i, t] = math.exp(new[i, t] - old[i, t] if level == "token" else mean)
        slopes = {}
        for t in tokens:
            s = ratio[i, t]
            a = advantages[i] if advantages.ndim == 1 else advantages[i, t]
            value, slope = surrogate(s, a, epsilon, epsilon_high, delta)
            loss -= share[i] * value
            slopes[t] = -share[i] * slope
            bounded = s if delta is None else min(s, delta)
            low += bounded < 1 - epsilon and a < 0
            high += bounded > 1 + epsilon_high and a > 0
            if ref is not None:
                d = ref[i, t] - new[i, t]
                k = math.exp(d) - d - 1
                factor = s if use_bias_correction_kl else 1.0
                loss += share[i] * beta * k * factor
                kl_sum += k * factor
                gradient[i, t] += share[i] * beta * (1 - math.exp(d)) * factor
                slopes[t] += share[i] * beta * k if use_bias_correction_kl else 0.0
        if tokens and advantages.ndim == 1:
            bounded = math.exp(mean) if delta is None else min(math.exp(mean), delta)
            low_rows += bounded < 1 - epsilon and advantages[i] < 0
            high_rows += bounded > 1 + epsilon_high and advantages[i] > 0
        for t in tokens:
            gradient[i, t] += ratio[i, t] * (math.fsum(slopes.values()) / size if level == "sequence" else slopes[t])
    total = max(sum(len(tokens) for tokens in counted), 1)
    per_row = level == "sequence" and advantages.ndim == 1
    return Answer(
        loss=loss,
        gradient=gradient,
        ratio=ratio,
        clip_low=low_rows / rows if per_row else low / total,
        clip_high=high_rows / rows if per_row else high / total,
        kl=None if ref is None else kl_sum / total,
    )


def token_shares(counted, loss_type, max_completion_length, num_items_in_batch, steps) -> list[float]:
    """Share n_it of each token of row i in the loss."""
    rows = len(counted)
    total = max(sum(len(tokens) for tokens in counted), 1)
    if loss_type == "grpo":
        return [1 / rows / max(len(tokens), 1) / steps for tokens in counted]
    if loss_type == "luspo":
        return [1 / rows / steps] * rows
    if loss_type == "dr_grpo":
        return [1 / rows / max_completion_length / steps] * rows
    if loss_type == "dapo" and num_items_in_batch is not None:
        return [1 / max(num_items_in_batch, 1)] * rows
    return [1 / total / steps] * rows  # bnpo, and dapo without the count


def surrogate(s, a, epsilon, epsilon_high, delta) -> tuple[float, float]:
    """f(s, a) and its derivative in s; at a tie that of the branch without a clip."""
    free = s * a if delta is None or s <= delta else delta * a
    free_slope = a if delta is None or s <= delta else 0.0
    inside = 1 - epsilon <= s <= 1 + epsilon_high
    clipped = a * min(max(s, 1 - epsilon), 1 + epsilon_high)
    clipped_slope = a if inside else 0.0
    return (free, free_slope) if free <= clipped else (clipped, clipped_slope)
