"""How the cost of a training step grows: with completion length, group size and model width, ours beside stock TRL's.

    python benchmarks/scaling.py [--axes length group width] [--rounds 5] [--json FILE]
    python benchmarks/scaling.py --quick             # two tiny sizes, one round

The step is that of train_step.py: canned completions of log-normal length, half of the groups without variance. One
axis grows while the others stay; seconds ~ size^exponent is fitted to the logarithms, once a round, and the median
exponent and its range are printed. A ratio is printed only if the gradients agree.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from train_step import AGREE, BASE, Case, gap, optimise, trainer_of

SIZES = {"length": (64, 128, 256, 512), "group": (4, 8, 16, 32), "width": (128, 256, 512, 768)}
QUICK = {"length": (32, 64), "group": (4, 8), "width": (64, 128)}
SHORT = replace(BASE, completions=16, group=4, width=64, mean=11.0, longest=32)
GROUPS = 8  # prompts of a rollout on the axis `group`


def case_of(axis: str, size: int, base: Case) -> Case:
    """The base case with one of its sizes changed."""
    if axis == "length":
        return replace(base, longest=size, mean=base.mean * size / base.longest)
    if axis == "group":
        return replace(base, group=size, completions=GROUPS * size)
    return replace(base, width=size)


def measure(cases: Sequence[Case], rounds: int, folder: Path) -> dict[str, Any]:
    """Seconds of both contenders at every size, round by round: sizes and contenders take turns."""
    names = ("trl", "ours")
    trainers = [{name: trainer_of(name, case, folder) for name in names} for case in cases]
    seconds: dict[str, list[list[float]]] = {name: [[] for _ in range(rounds)] for name in names}
    gaps = []
    for turn in range(rounds + 1):
        for pair in trainers:
            gradients = {}
            for name in names:
                took, gradients[name] = optimise(pair[name])
                if turn:  # the first warms up
                    seconds[name][turn - 1].append(took)
            gaps.append(gap(gradients["ours"], gradients["trl"]))
    return {"seconds": seconds, "gradient_error": max(gaps)}


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of log seconds over log size, by least squares."""
    return statistics.linear_regression([math.log(s) for s in sizes], [math.log(s) for s in seconds]).slope


def summary(sizes: Sequence[int], found: dict[str, Any]) -> dict[str, Any]:
    """Exponents with their range, and medians at every size."""
    result: dict[str, Any] = {"sizes": list(sizes), "gradient_error": found["gradient_error"]}
    for name, rounds in found["seconds"].items():
        slopes = [exponent(sizes, row) for row in rounds]
        result[name] = {
            "seconds": [statistics.median(column) for column in zip(*rounds, strict=True)],
            "exponent": statistics.median(slopes),
            "exponent_low": min(slopes),
            "exponent_high": max(slopes),
        }
    return result


def shown(axis: str, result: dict[str, Any]) -> str:
    """One axis for people."""
    lines = [f"{axis}: {', '.join(map(str, result['sizes']))}"]
    for name, title in (("trl", "stock TRL"), ("ours", "gspo-lite")):
        of = result[name]
        took = ", ".join(f"{s:.2f}" for s in of["seconds"])
        lines.append(
            f"  {title:10} {took} s   exponent {of['exponent']:.2f} "
            f"({of['exponent_low']:.2f} to {of['exponent_high']:.2f})"
        )
    if result["gradient_error"] < AGREE:
        pairs = zip(result["trl"]["seconds"], result["ours"]["seconds"], strict=True)
        lines.append(f"  ratio      {', '.join(f'{theirs / ours:.2f}' for theirs, ours in pairs)}")
    else:
        lines.append(f"  gradients differ by {result['gradient_error']:.1e}: no ratio is printed")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two tiny sizes an axis, one round")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(words)
    rounds = 1 if chosen.quick else chosen.rounds
    base, table = (SHORT, QUICK) if chosen.quick else (BASE, SIZES)
    results = {}
    for axis in chosen.axes:
        sizes = table[axis]
        folder = Path(tempfile.mkdtemp(prefix="scaling-"))
        found = measure([case_of(axis, size, base) for size in sizes], rounds, folder)
        results[axis] = summary(sizes, found)
        print(shown(axis, results[axis]), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
