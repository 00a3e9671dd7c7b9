"""The peak of memory of each phase of a run on a GPU, so that one run tells which term of `plan` is wrong.

Phases nest, as sampling does inside a training step; what a phase holds while another one inside it runs is the
other's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FIGURES = ("allocated_gib", "reserved_gib")


def outside_torch() -> float:
    """Return GiB of the card that torch's allocator does not hold: the context, libraries, other processes."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return (total - free - torch.cuda.memory_reserved()) / 2**30


class Peaks:
    """Peak GiB by phase: allocated and reserved by torch's allocator.

    Attributes:
        context_gib: what lay outside of it before anything was loaded.
    """

    def __init__(self) -> None:
        import torch

        torch.cuda.init()
        self.context_gib = outside_torch()
        self.by_phase: dict[str, dict[str, float]] = {}
        self._phases = ["loading"]
        torch.cuda.reset_peak_memory_stats()

    def watch(self, owner: Any, method: str, phase: str) -> None:
        """Count the peak of this method of this object under a name."""
        setattr(owner, method, self.within(getattr(owner, method), phase))

    def within(self, function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        """Return the function; its peak counts under a name."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._close()
            self._phases.append(phase)
            try:
                return function(*args, **kwargs)
            finally:
                self._close()
                self._phases.pop()

        return call

    def figures(self) -> dict[str, Any]:
        """Return everything that was seen so far."""
        self._close()
        return {"context_gib": self.context_gib, "outside_gib": outside_torch(), **self.by_phase}

    def _close(self) -> None:
        """Add what was seen since the last change to the phase that ran, and begin again."""
        import torch

        seen = (torch.cuda.max_memory_allocated() / 2**30, torch.cuda.max_memory_reserved() / 2**30)
        before = self.by_phase.setdefault(self._phases[-1], dict.fromkeys(FIGURES, 0.0))
        self.by_phase[self._phases[-1]] = {
            name: max(before[name], value) for name, value in zip(FIGURES, seen, strict=True)
        }
        torch.cuda.reset_peak_memory_stats()
