"""How long the threads of a CPU computation spin before they sleep, so that other programs get the cores meanwhile.

libgomp's threads spin for milliseconds by default. On a machine with nothing else to do that saves the time of waking
them up. On Colab's two cores or a laptop with a browser, spinning threads take the cores from those that have work: two
processes of two threads slow each other down many times over. Threads that sleep at once are slower where they are
alone. `benchmarks/waiting.py` measures this module's count against libgomp's.
"""

from __future__ import annotations

import os
import sys

CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # with one of these the user has decided
SPINS = "10000"  # libgomp's own count is 300,000


def spin_briefly() -> None:
    """Let OpenMP threads sleep after a short spin, unless the environment says how they shall wait.

    OpenMP reads the environment once, when torch is loaded, so this comes too late after `import torch`.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in CHOICES):
        os.environ["GOMP_SPINCOUNT"] = SPINS
