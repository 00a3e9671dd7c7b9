"""The objective as an executable definition of GSPO, GSPO-token and GRPO on tensors.

Owns the loss and the group advantages as pure functions: the trainers are checked against them at start-up, and a
hand-written training loop can call them. Must not know models, tokenizers, rewards or trainers.

Letters: B sequences in the micro-batch, T padded completion length, N completions in the rollout. Equation numbers
are those of "Group Sequence Policy Optimization", arXiv 2507.18071.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LEVELS = ("token", "sequence", "sequence_token")
LOSS_TYPES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")
SCALES = ("group", "batch", "none")

# e^20 = 4.9e8 still squares and sums within float32; a clipped objective cannot use a larger ratio.
MAX_LOG_RATIO = 20.0
STD_FLOOR = 1e-4  # added to the standard deviation, as TRL does: a group of equal rewards gets 0, not 0 / 0


@dataclass(frozen=True)
class LossOutput:
    """A loss to call `backward` on, and detached figures to log.

    Attributes:
        loss: scalar, float32 or wider.
        ratio: importance ratio before clipping, (B, 1) at level `sequence`, else (B, T) with 1 at padding.
        clip_low: scalar, share of ratios below 1 - epsilon with a negative advantage, where the gradient stops.
        clip_high: scalar, share of ratios above 1 + epsilon_high with a positive advantage.
        kl: scalar, mean KL penalty per token before beta; None without reference log-probabilities.
    """

    loss: Tensor
    ratio: Tensor
    clip_low: Tensor
    clip_high: Tensor
    kl: Tensor | None


def gspo_loss(
    per_token_logps: Tensor,
    old_per_token_logps: Tensor | None,
    completion_mask: Tensor,
    advantages: Tensor,
    *,
    level: str = "sequence",
    loss_type: str = "grpo",
    epsilon: float = 3e-4,
    epsilon_high: float = 4e-4,
    delta: float | None = None,
    beta: float = 0.0,
    ref_per_token_logps: Tensor | None = None,
    use_bias_correction_kl: bool = False,
    max_completion_length: int | None = None,
    num_items_in_batch: Tensor | float | None = None,
    gradient_accumulation_steps: int = 1,
) -> LossOutput:
    """Compute the clipped policy loss of one micro-batch (eq. 5 for `sequence`, eq. 13 for `sequence_token`).

    Half-precision inputs are computed in float32. Masked positions may hold anything, including NaN and infinity:
    they affect neither loss nor gradient. A log ratio above 20 counts as 20 and passes no gradient.

    Args:
        per_token_logps: log-probabilities of the sampled tokens under the policy being trained, (B, T).
        old_per_token_logps: the same under the policy that sampled them, (B, T); None means it is the same policy.
        completion_mask: nonzero where a token counts, (B, T); rows may be empty or have holes.
        advantages: (B,), or (B, T) for advantages that differ between tokens.
        level: level of the ratio, `token`, `sequence` or `sequence_token`.
        loss_type: how tokens are averaged: `grpo` (paper), `bnpo`, `dr_grpo`, `dapo` or `luspo`, see `_average`.
        epsilon: the ratio is clipped below 1 - epsilon,
        epsilon_high: and above 1 + epsilon_high.
        delta: upper bound of the ratio under a negative advantage too, where the clip does not bound it.
        beta: weight of the KL penalty; above 0 it needs `ref_per_token_logps`.
        ref_per_token_logps: log-probabilities under the reference policy, (B, T).
        use_bias_correction_kl: multiply the KL penalty by the unclipped ratio, gradient included. It breaks the
            equality of `sequence` and `sequence_token` under (B,) advantages, which holds otherwise.
        max_completion_length: divisor of `dr_grpo` in tokens; required there.
        num_items_in_batch: tokens of all micro-batches of the optimizer step, the divisor of `dapo`; None treats
            this micro-batch as an average one. TRL's field of that name spans the rollout: multiply it by
            gradient_accumulation_steps / steps_per_generation.
        gradient_accumulation_steps: micro-batches of the optimizer step, over which the loss is averaged.

    Raises:
        ValueError: a shape or option is wrong, or a token that counts is NaN or infinite.
    """
    _check_shapes(per_token_logps, old_per_token_logps, completion_mask, advantages, ref_per_token_logps)
    _expect(level in LEVELS, "level", level, _one_of(LEVELS))
    _expect(loss_type in LOSS_TYPES, "loss_type", loss_type, _one_of(LOSS_TYPES))
    for name, value in (("epsilon", epsilon), ("epsilon_high", epsilon_high), ("beta", beta)):
        _expect(0 <= value < math.inf, name, value, "a number of at least 0")
    _expect(delta is None or 0 < delta < math.inf, "delta", delta, "None or a number above 0")
    _expect(not beta or ref_per_token_logps is not None, "ref_per_token_logps", None, "a tensor, as `beta` is above 0")
    divides = loss_type != "dr_grpo" or (max_completion_length or 0) >= 1
    _expect(divides, "max_completion_length", max_completion_length, "at least 1, as `dr_grpo` divides by it")
    _expect(gradient_accumulation_steps >= 1, "gradient_accumulation_steps", gradient_accumulation_steps, "at least 1")

    mask = completion_mask != 0
    dtype = torch.promote_types(per_token_logps.dtype, torch.float32)
    new = _masked("per_token_logps", per_token_logps, mask, dtype)
    old = new if old_per_token_logps is None else _masked("old_per_token_logps", old_per_token_logps, mask, dtype)
    advantage = _masked("advantages", advantages, mask, dtype)

    ratio = importance_ratio(new, old.detach(), mask, level)
    bounded = ratio if delta is None else ratio.clamp(max=delta)
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon_high)
    gain, limit = bounded * advantage, clipped * advantage
    # Not torch.min, which takes half of each where both are equal: at the border of the clip range, where epsilon 0
    # starts, the gradient of clamp is 1 up to torch 2.14 and 0 later.
    per_token_loss = -torch.where(gain <= limit, gain, limit)

    kl = None
    if ref_per_token_logps is not None:
        kl = _kl_penalty(new, _masked("ref_per_token_logps", ref_per_token_logps, mask, dtype))
        kl = kl * ratio if use_bias_correction_kl else kl
        per_token_loss = per_token_loss + beta * kl

    row_sums = torch.where(mask, per_token_loss, 0.0).sum(dim=1)
    if loss_type == "dapo" and num_items_in_batch is not None:
        items = torch.as_tensor(num_items_in_batch, dtype=dtype, device=mask.device)
        loss = row_sums.sum() / items.clamp(min=1)
    else:
        loss = _average(row_sums, mask, loss_type, max_completion_length) / gradient_accumulation_steps
    return LossOutput(
        loss=loss,
        ratio=ratio.detach(),
        clip_low=_mean((bounded < 1 - epsilon) & (advantage < 0), mask),
        clip_high=_mean((bounded > 1 + epsilon_high) & (advantage > 0), mask),
        kl=None if kl is None else _mean(kl.detach(), mask),
    )


def importance_ratio(new: Tensor, old: Tensor, mask: Tensor, level: str) -> Tensor:
    """Compute the importance ratio of policy `new` to policy `old`.

        token            exp(l_it - o_it)
        sequence         s_i  = exp( sum_t m_it (l_it - o_it) / |y_i| )        eq. 7
        sequence_token   s_it = sg[s_i] exp(l_it - sg[l_it])                   eq. 14

    Args:
        new: log-probabilities with gradient, (B, T), finite.
        old: log-probabilities of the sampling policy, (B, T), finite.
        mask: True where a token counts, (B, T); |y_i| is their number, and an empty row has ratio 1.
        level: `token`, `sequence` or `sequence_token`.

    Returns:
        (B, 1) at level `sequence`, else (B, T); at `sequence_token` every token of a row has the value s_i.
    """
    log_ratio = torch.where(mask, new - old, 0.0)
    if level != "token":
        log_ratio = log_ratio.sum(dim=1, keepdim=True) / _lengths(mask).to(log_ratio.dtype)
    if level == "sequence_token":
        # In this order the first term is exactly 0, so the values equal those of level `sequence`.
        log_ratio = torch.where(mask, (new - new.detach()) + log_ratio.detach(), 0.0)
    return log_ratio.clamp(max=MAX_LOG_RATIO).exp()


def group_advantages(rewards: Tensor, num_generations: int, *, scale_rewards: str = "group") -> Tensor:
    """Compare each reward with those of its group: (r_i - mean of the group) / (std + 1e-4), eq. 6.

    Args:
        rewards: (N,), one group after the other; NaN marks a completion that could not be judged, which is left out
            of mean and standard deviation and gets advantage 0.
        num_generations: completions per group.
        scale_rewards: whose standard deviation (unbiased, N - 1) is the divisor, `group`, `batch` or `none`.

    Returns:
        Advantages (N,), float32 or wider.

    Raises:
        ValueError: N is not a multiple of num_generations, or a reward is infinite.
    """
    _expect(scale_rewards in SCALES, "scale_rewards", scale_rewards, _one_of(SCALES))
    _expect(num_generations >= 1, "num_generations", num_generations, "at least 1")
    grouping = f"(N,) with N a multiple of `num_generations`, {num_generations}"
    fits = rewards.dim() == 1 and rewards.numel() % num_generations == 0
    _expect(fits, "shape of rewards", tuple(rewards.shape), grouping)
    _expect(not rewards.isinf().any(), "rewards", "infinite in places", "numbers, or NaN for no judgment")

    # float64: dividing by 1e-4 would magnify the rounding error in the mean of equal rewards.
    grouped = rewards.double().view(-1, num_generations)
    deviation = _deviation(grouped)
    if scale_rewards == "group":
        deviation = deviation / (_std(grouped) + STD_FLOOR)
    elif scale_rewards == "batch":
        deviation = deviation / (_std(grouped.view(1, -1)) + STD_FLOOR)
    return deviation.flatten().to(torch.promote_types(rewards.dtype, torch.float32))


def _deviation(values: Tensor) -> Tensor:
    """Return the difference of each value from the mean of its row without NaN; 0 for NaN."""
    return (values - values.nanmean(dim=1, keepdim=True)).nan_to_num(nan=0.0)


def _std(values: Tensor) -> Tensor:
    """Return the unbiased standard deviation of each row without NaN, (rows, 1); 0 for fewer than two values."""
    freedom = (~values.isnan()).sum(dim=1, keepdim=True) - 1
    return (_deviation(values).square().sum(dim=1, keepdim=True) / freedom.clamp(min=1)).sqrt()


def _kl_penalty(new: Tensor, ref: Tensor) -> Tensor:
    """Estimate KL(new || ref) per token, never negative: exp(d) - d - 1 with d = ref - new, (B, T)."""
    difference = (ref - new).clamp(max=MAX_LOG_RATIO)
    return difference.exp() - difference - 1


def _average(row_sums: Tensor, mask: Tensor, loss_type: str, max_completion_length: int | None) -> Tensor:
    """Average the losses of a micro-batch, (B,), each summed over the tokens of its row.

    grpo         mean over sequences of the mean over tokens
    bnpo, dapo   mean over tokens
    dr_grpo      sum over tokens / (B * max_completion_length)
    luspo        mean over sequences of the sum over tokens
    """
    if loss_type == "grpo":
        return (row_sums / _lengths(mask)[:, 0]).mean()
    if loss_type == "luspo":
        return row_sums.mean()
    if loss_type == "dr_grpo":
        return row_sums.mean() / max_completion_length
    return row_sums.sum() / mask.sum().clamp(min=1)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average (B, 1) values over sequences, or (B, T) values over the tokens that count."""
    if values.shape != mask.shape:
        return values.float().mean()
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def _lengths(mask: Tensor) -> Tensor:
    """Count the tokens of each row, (B, 1), as at least 1 so that an empty row divides to 0."""
    return mask.sum(dim=1, keepdim=True).clamp(min=1)


def _masked(name: str, values: Tensor, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return values, (B, T) or (B,) as (B, 1), in `dtype` and 0 where masked; refuse NaN and infinity elsewhere."""
    if values.dim() == 1:
        values, mask = values[:, None], mask.any(dim=1, keepdim=True)
    values = torch.where(mask, values.to(dtype), 0.0)
    if not values.isfinite().all():
        row, column = (int(index) for index in (~values.isfinite()).nonzero()[0])
        found = values[row, column].item()
        raise ValueError(f"`{name}[{row}, {column}]` is `{found}`; expected a number, as the mask counts this token")
    return values


def _check_shapes(new: Tensor, old: Tensor | None, mask: Tensor, advantages: Tensor, ref: Tensor | None) -> None:
    shape = tuple(new.shape)
    _expect(len(shape) == 2 and shape[0] > 0, "shape of per_token_logps", shape, "(B, T) with at least one row")
    for name, values in (("old_per_token_logps", old), ("completion_mask", mask), ("ref_per_token_logps", ref)):
        if values is not None:
            _expect(values.shape == shape, f"shape of {name}", tuple(values.shape), f"{shape}, as per_token_logps")
    fits = advantages.shape in (shape, shape[:1])
    _expect(fits, "shape of advantages", tuple(advantages.shape), f"{shape[:1]} or {shape}")


def _one_of(allowed: tuple[str, ...]) -> str:
    return "one of " + ", ".join(f"`{choice}`" for choice in allowed)


def _expect(holds: bool, what: str, found: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"`{what}` is `{found}`; expected {expected}")
