"""Live gauges of the sequence ratio: how far the policy has moved since it sampled, and how much the clip cuts.

    gspo/log_ratio_mean, _std, _min, _max      of log s_i over the sequences of the micro-batches of a step
    gspo/on_policy_share                       share of sequences with log s_i = 0: nothing has moved yet
    gspo/clip_low_sequences, clip_high_...     share of sequences with a clipped token
    gspo/clip_low_tokens, clip_high_tokens     share of tokens clipped; none of the four for a loss without two clips
    gspo/fully_clipped_share                   share of sequences that have moved, with an advantage, whose every token
                                               with an advantage is clipped: they add nothing to the gradient
    gspo/noise_floor                           log_ratio_std before any weight has moved, if two passes are compared
    gspo/sampler_gap                           largest absolute log s_i between the training pass and the sampler,
                                               in rollouts that have log-probs of both
    gspo/computed_share                        share of sequences that were computed; the others have no advantage

log s_i covers the computed sequences, the clip shares all: sequences without an advantage are never clipped. s_i is the
geometric mean of a completion's token ratios (arXiv 2507.18071, eq. 7) at every level, so that runs of GRPO and GSPO
can be compared. Reads ratios, never changes them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch

ON_POLICY = 1e-7  # below this, log s_i is rounding, not movement
NOISE_SHARE = 4.0  # standard deviations of the noise that must lie within the clip


class RatioGauges:
    """Collects the ratios of the micro-batches of one optimizer step.

    Attributes:
        clips: whether the loss clips ratios at both ends.
        kept: with `keep`, log s of every sequence, of the trainer's two passes (`trainer`) or against the `sampler`.
    """

    def __init__(self, level: str, epsilon: float, epsilon_high: float, clips: bool = True, *, keep: bool = False):
        self.kept: dict[str, list[float]] | None = {"trainer": [], "sampler": []} if keep else None
        self.level, self.clips = level, clips
        self.low, self.high = 1 - epsilon, 1 + epsilon_high
        self.seen: dict[str, list[torch.Tensor]] = defaultdict(list)
        self.left_out = {"sequences": 0.0, "tokens": 0.0}
        self.compared = True  # every ratio is of two passes
        self.sampler_gaps: list[float] = []  # largest absolute log s of each batch, since the last figures

    def record(
        self, log_ratio: torch.Tensor, mask: torch.Tensor, advantages: torch.Tensor, compared: bool = True
    ) -> None:
        """Record one micro-batch.

        Args:
            log_ratio: log new - log old per token (B, T), or already log s_i (B, 1).
            mask: tokens that count (B, T).
            advantages: (B,) or (B, T).
            compared: the log-probs are of two passes; False if of one, where the ratio is 1 by construction.
        """
        if not torch.is_grad_enabled():  # TRL's evaluation computes the loss as well, but its ratios are no step's
            return
        self.compared &= compared
        mask = mask.bool()
        log_ratio = log_ratio.detach().float()
        spread = torch.where(mask, log_ratio.expand(mask.shape), 0.0)
        log_s = sequence_means(log_ratio, mask)
        per_token = spread if self.level == "token" else log_s.unsqueeze(1).expand(mask.shape)
        signs = advantages if advantages.dim() == 2 else advantages.unsqueeze(1)
        cut = {
            "low": (per_token.exp() < self.low) & (signs < 0) & mask,
            "high": (per_token.exp() > self.high) & (signs > 0) & mask,
        }
        counted = mask.any(1)
        silent = (cut["low"] | cut["high"] | (signs == 0) | ~mask).all(1)
        weighty = ((signs != 0) & mask).any(1) & (log_s.abs() >= ON_POLICY)
        self.seen["silent"].append(silent[weighty].float())
        if self.kept is not None:
            self.kept["trainer"] += log_s[counted].tolist()
        self.seen["log_s"].append(log_s[counted])
        for side, tokens in cut.items():
            self.seen[f"{side} sequences"].append(tokens.any(1)[counted].float())
            self.seen[f"{side} tokens"].append(tokens[mask].float())

    def record_sampler(self, batch: dict[str, Any]) -> None:
        """Record log s between the trainer's old log-probs and those of the sampler, if a batch has both."""
        old, sampled = batch.get("old_per_token_logps"), batch.get("sampling_per_token_logps")
        if old is None or sampled is None:
            return
        log_s = sequence_means(old.float() - sampled.float(), batch["completion_mask"] * batch.get("tool_mask", 1))
        if len(log_s):
            self.sampler_gaps.append(float(log_s.abs().max()))
        if self.kept is not None:
            self.kept["sampler"] += log_s.tolist()

    def leave_out(self, sequences: float, tokens: float) -> None:
        """Count sequences and tokens that were not computed because they have no advantage."""
        self.left_out["sequences"] += sequences
        self.left_out["tokens"] += tokens

    def figures(self, unmoved: bool = False) -> dict[str, float]:
        """Return the gauges since the last call, if any; `unmoved`: no weight has moved, so log s_i is pure noise."""
        seen = {name: torch.cat(parts) for name, parts in self.seen.items()}
        noise, left_out = unmoved and self.compared, self.left_out
        self.seen.clear()
        self.left_out, self.compared = dict.fromkeys(left_out, 0.0), True
        gaps, self.sampler_gaps = self.sampler_gaps, []
        if not seen or not seen["log_s"].numel():
            return {}
        log_s = seen["log_s"]
        figures: dict[str, Any] = {
            "log_ratio_mean": log_s.mean(),
            "log_ratio_std": log_s.std(unbiased=False),
            "log_ratio_min": log_s.min(),
            "log_ratio_max": log_s.max(),
            "on_policy_share": (log_s.abs() < ON_POLICY).float().mean(),
        }
        for side in ("low", "high") if self.clips else ():
            for unit, missing in left_out.items():
                clipped = seen[f"{side} {unit}"]
                figures[f"clip_{side}_{unit}"] = clipped.sum() / (len(clipped) + missing)
        if self.clips and not unmoved and seen["silent"].numel():
            figures["fully_clipped_share"] = seen["silent"].mean()
        figures["computed_share"] = len(log_s) / (len(log_s) + left_out["sequences"])
        if noise:
            figures["noise_floor"] = figures["log_ratio_std"]
        if gaps:
            figures["sampler_gap"] = max(gaps)
        return {f"gspo/{name}": float(value) for name, value in figures.items()}


def sequence_means(log_ratio: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return log s_i (B,): the mean of the log ratios (B, T) or (B, 1) over the tokens in the mask (B, T)."""
    mask = mask.bool()
    return torch.where(mask, log_ratio.expand(mask.shape), 0.0).sum(1) / mask.sum(1).clamp(min=1)
