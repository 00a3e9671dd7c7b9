"""Seconds of CPU training with OpenMP threads that spin as long as libgomp has it, and as briefly as we have it.

    python benchmarks/waiting.py [--rounds 5] [--alone 20] [--beside 4] [--json FILE]

Every figure is a process of its own, with two threads, that builds a part of the starter; the counts take turns.
`alone` needs a machine with nothing else to do. `beside` has one other such process with the same count at work all the
time, as two runs or a run and a notebook have it on Colab's two cores.
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

from gspo_lite.system.waiting import SPINS

THREADS = "2"
COUNTS = {"libgomp's": "300000", "ours": SPINS}
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


def started(steps: int, count: str) -> subprocess.Popen[str]:
    """Start a worker whose threads spin that often."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    words = [sys.executable, __file__, WORKER, str(steps)]
    environment = known | {"OMP_NUM_THREADS": THREADS, "GOMP_SPINCOUNT": count}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)


def seconds(steps: int, count: str, beside: bool) -> float:
    """Seconds of one worker, perhaps beside another that goes on for good."""
    neighbour = started(0, count) if beside else None
    try:
        if neighbour is not None and neighbour.stdout is not None:
            neighbour.stdout.readline()  # it is at work
        return float(started(steps, count).communicate()[0])
    finally:
        if neighbour is not None:
            neighbour.kill()
            neighbour.wait()


def main() -> None:
    """Measure both counts alone and beside a neighbour, and print the ratios of their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", type=int, default=20, help="steps of the starter's build in a figure")
    parser.add_argument("--beside", type=int, default=4, help="the same beside another process")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures: dict[str, dict[str, list[float]]] = {}
    for place, steps in (("alone", options.alone), ("beside", options.beside)):
        found = figures[place] = {name: [] for name in COUNTS}
        for _ in range(options.rounds):
            for name, count in COUNTS.items():
                found[name].append(seconds(steps, count, place == "beside"))
        theirs, ours = (statistics.median(found[name]) for name in COUNTS)
        print(
            f"{place:8}libgomp's {theirs:6.2f} s   ours {ours:6.2f} s   {theirs / ours:.2f} times as fast", flush=True
        )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:
        worker(int(sys.argv[2]))
    else:
        main()
