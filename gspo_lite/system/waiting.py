"""How the threads of a CPU computation wait for work: asleep, so that other programs get the cores meanwhile.

OpenMP threads spin for milliseconds by default before they sleep. On a machine with nothing else to do that saves the
time of waking them up. On Colab's two cores or a laptop with a browser, spinning threads take the cores from those that
have work: two processes of two threads slow each other down many times over. `benchmarks/waiting.py` measures both.
"""

from __future__ import annotations

import os
import sys

CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # with one of these the user has decided


def wait_asleep() -> None:
    """Let OpenMP threads sleep while they wait, unless the environment says how they shall wait.

    OpenMP reads the environment once, when torch is loaded, so this comes too late after `import torch`.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in CHOICES):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
