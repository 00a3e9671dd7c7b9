"""Seconds of CPU training with OpenMP threads that spin while they wait and with threads that sleep, ours.

    python benchmarks/waiting.py [--rounds 5] [--steps 60] [--json FILE]

Every figure is a process of its own, with two threads, that builds a part of the starter; the policies take turns.
`alone` needs a machine with nothing else to do. `beside` has one other process of two threads at work all the time, a
torch program that spins by default, as on Colab's two cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

THREADS = "2"
SPINS = {"GOMP_SPINCOUNT": "300000"}  # libgomp's own number where nothing is set
POLICIES = {"spinning": SPINS, "asleep": {}}
WORKER = "worker"


def worker(steps: int) -> None:
    """Build a part of the starter and print its seconds; go on for good if `steps` is 0."""
    from gspo_lite.models.starter import WarmUp, build_tokenizer, demonstration_batches, warm_up

    tokenizer = build_tokenizer()
    while True:
        batches = list(itertools.islice(demonstration_batches(tokenizer), steps or 50))
        start = time.perf_counter()
        warm_up(tokenizer, batches, WarmUp(len(batches)), None)
        print(time.perf_counter() - start, flush=True)
        if steps:
            return


def started(steps: int, policy: dict[str, str]) -> subprocess.Popen[str]:
    """Start a worker under this policy."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    words = [sys.executable, __file__, WORKER, str(steps)]
    environment = known | {"OMP_NUM_THREADS": THREADS} | policy
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)


def seconds(steps: int, policy: dict[str, str]) -> float:
    """Seconds of one worker."""
    return float(started(steps, policy).communicate()[0])


def measured(steps: int, rounds: int, beside: bool) -> dict[str, list[float]]:
    """Seconds by policy, one a round."""
    neighbour = started(0, SPINS) if beside else None
    try:
        if neighbour is not None and neighbour.stdout is not None:
            neighbour.stdout.readline()  # it is at work
        found: dict[str, list[float]] = {name: [] for name in POLICIES}
        for _ in range(rounds):
            for name, policy in POLICIES.items():
                found[name].append(seconds(steps, policy))
        return found
    finally:
        if neighbour is not None:
            neighbour.kill()
            neighbour.wait()


def main() -> None:
    """Measure both policies alone and beside a neighbour, and print the ratios of their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60, help="steps of the starter's build in one figure")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = {}
    for place in ("alone", "beside"):
        found = figures[place] = measured(options.steps, options.rounds, place == "beside")
        spinning, asleep = (statistics.median(found[name]) for name in POLICIES)
        print(f"{place:8}spinning {spinning:6.2f} s   asleep {asleep:6.2f} s   {spinning / asleep:.2f} times as fast")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:
        worker(int(sys.argv[2]))
    else:
        main()
