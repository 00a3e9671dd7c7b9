"""Leaves out the backward pass of a micro-batch whose gradient is exactly zero, as it is where every row is clipped.

In min(s A, clip(s) A), a row beyond the clip on the side of its advantage is a constant: its gradient is 0, not merely
small. The forward pass is needed to know the ratio; the backward pass, most of the work, is not. Whether a micro-batch
is such a constant is asked of autograd, for the model's outputs, which costs next to nothing. So whatever else a loss
may hold, a KL penalty or an entropy bonus, counts. Must not define a loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


def without_idle_backward(loss: torch.Tensor, outputs: Iterable[Any], model: Any) -> torch.Tensor:
    """Return the loss, without its way back through the model if its gradient is exactly zero.

    Every trained parameter still gets its gradient of 0, so optimizers and other processes see no difference.

    Args:
        outputs: all results of the model that the loss may depend on; what is no tensor with a gradient is ignored.
    """
    ways = [one for one in outputs if isinstance(one, torch.Tensor) and one.requires_grad]
    if not ways or not loss.requires_grad:
        return loss
    gradients = torch.autograd.grad(loss, ways, retain_graph=True, allow_unused=True)
    if any(gradient is not None and bool(gradient.any()) for gradient in gradients):  # NaN is not 0
        return loss
    return loss.detach() + zero_of(model)


def zero_of(model: Any) -> torch.Tensor:
    """Return 0, with a gradient of 0 for every trained parameter."""
    return torch.stack([(p * 0).sum() for p in model.parameters() if p.requires_grad]).sum()
