"""Metrics of a micro-batch whose rows without an advantage were not computed, extended to all of its rows."""

from __future__ import annotations

from typing import Any

import torch

from gspo_lite.training.loss.backward import zero_of
from gspo_lite.training.loss.rows import ROW_SHARE, TOKEN_SHARE, Batch

CLIPS = ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean")
OTHER_CLIPS = {"cispo": ("cispo_clip_ratio",), "sapo": (), "vespo": ()}  # of losses that do not clip on two sides
LOWEST_CLIP = "clip_ratio/low_min"

Metrics = dict[str, list[float]]


def nothing(model: Any, metrics: Metrics, loss_type: str) -> torch.Tensor:
    """Return the loss of an empty micro-batch: 0 with a gradient of 0, and metrics of 0."""
    for name in OTHER_CLIPS.get(loss_type, (*CLIPS, LOWEST_CLIP, "clip_ratio/high_max")):
        metrics[name].append(0.0)
    return zero_of(model)


def correct_clips(metrics: Metrics, inputs: Batch, loss_type: str, level: str) -> None:
    """Extend the newest shares of what is clipped to all rows: a row without advantage is never clipped."""
    share = inputs[ROW_SHARE if level == "sequence" else TOKEN_SHARE]
    for name in filter(metrics.get, OTHER_CLIPS.get(loss_type, CLIPS)):  # luspo has none on Unsloth's trainer
        metrics[name][-1] *= share
    if inputs[ROW_SHARE] < 1 and metrics.get(LOWEST_CLIP):
        metrics[LOWEST_CLIP][-1] = 0.0
