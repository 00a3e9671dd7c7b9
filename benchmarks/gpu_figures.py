"""How gradients of gpu.py's contenders are compared, and how a row of its table is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Row = dict[str, Any]


def gaps(ours: Path, theirs: Path) -> tuple[float, float, str]:
    """Return the largest relative difference of the gradients of an optimizer step, and the lowest cosine of a module.

    A module without a gradient in either has none.
    """
    import torch

    pairs = list(zip(torch.load(ours, weights_only=True), torch.load(theirs, weights_only=True), strict=True))
    flat = [[torch.cat([value.flatten() for value in step.values()]) for step in pair] for pair in pairs]
    error = max(float((a - b).norm() / b.norm().clamp(min=1e-12)) for a, b in flat)
    cosines = [
        (float(torch.cosine_similarity(a[name].flatten(), b[name].flatten(), dim=0)), name)
        for a, b in pairs for name in b if a[name].any() or b[name].any()
    ]  # fmt: skip
    return error, *min(cosines, default=(1.0, ""))


def shown(row: Row) -> str:
    """Return one line of the table."""
    line = f"{row['shape']:12} {row['case']:5} flat {row['flat']:4.0%} {row['contender']:32}"
    if not row["rounds"]:
        return f"{line} not measured: {row['failed']}"
    line += (
        f" {row['seconds']:7.2f} s ({row['seconds_low']:.2f} to {row['seconds_high']:.2f})"
        f" {row['tokens_per_second']:8.0f} tokens/s  peak {row['peak_gib']:.2f} GiB, reserved {row['reserved_gib']:.2f}"
        f"  first round {row['compile_s']:.2f} s"
    )
    if row.get("whole_seconds"):
        speed = row["sampled_tokens"] / row["sampling_seconds"]
        line += f"  whole step {row['whole_seconds']:.2f} s"
        line += f", {row['sampling_seconds']:.2f} of it sampling, {speed:.0f} tokens/s"
    if row["over"] is None:
        return line
    cosine = f"lowest cosine {row['lowest_cosine']:.4f} of {row['of_module']}"
    if row["speed_up"] is None:
        differ = f"gradients differ from {row['over']}'s by {row['gradient_error']:.1e}, {cosine}"
        return f"{line}  {differ}: no speed-up is printed"
    return f"{line}  {row['speed_up']:.2f} x {row['over']}  gradient {row['gradient_error']:.0e}, {cosine}"
