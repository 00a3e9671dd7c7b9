"""The time that the phases of a run take, kept in its folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gspo_lite.system import run_folder


class Clock:
    """Seconds of each phase of a run but training, added up over its resumes.

    They are kept in environment.json after every phase, so that a kill loses none of them. Training has its own in
    metrics.jsonl, at every step.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.path: Path | None = None

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.add({phase: time.perf_counter() - start})

    def add(self, seconds: dict[str, float]) -> None:
        """Add the seconds of some phases."""
        for phase, more in seconds.items():
            self.seconds[phase] = round(self.seconds.get(phase, 0.0) + more, 1)
        if self.path is not None:
            run_folder.write_json(self.path, run_folder.read_json(self.path) | {"seconds": self.seconds})

    def keep_in(self, path: Path) -> None:
        """Keep all seconds, those up to now included, in environment.json from now on."""
        self.path = path
        self.add({})
