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

from step_cases import AGREE, REFERENCE, Case
from step_contender import optimise, trainer_of
from step_model import model_of, prepare_path
from step_reference import gradient_error

SIZES = {"length": (64, 128, 256, 512), "group": (4, 8, 16, 32), "width": (128, 256, 512, 768)}
QUICK = {"length": (32, 64), "group": (4, 8), "width": (64, 128)}
SHORT = replace(REFERENCE, completions=16, group=4, width=64, heads=1, mean=11.0, longest=32)
GROUPS = 8  # prompts of a rollout on the axis `group`


def case_of(axis: str, size: int, base: Case) -> Case:
    """The base case with one of its sizes changed."""
    if axis == "length":
        return replace(base, longest=size, mean=base.mean * size / base.longest)
    if axis == "group":
        return replace(base, group=size, completions=GROUPS * size)
    return replace(base, width=size, heads=size // 64)


def measure(cases: Sequence[Case], rounds: int, folder: Path) -> dict[str, Any]:
    """Seconds of both contenders at every size, round by round: sizes and contenders take turns."""
    names = {"trl": "stock", "ours": "gspo"}
    trainers = [{name: trainer_of(contender, case, folder) for name, contender in names.items()} for case in cases]
    seconds: dict[str, list[list[float]]] = {name: [[] for _ in range(rounds)] for name in names}
    gaps = []
    for turn in range(rounds + 1):
        for case, pair in zip(cases, trainers, strict=True):
            for name, trainer in pair.items():
                passes = optimise(trainer)
                if turn:
                    seconds[name][turn - 1].append(passes.seconds)
                else:  # the first warms up
                    gaps.append(gradient_error(trainer, passes, model_of(case, folder), {}))
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
    base, table = (SHORT, QUICK) if chosen.quick else (REFERENCE, SIZES)
    prepare_path("plain")
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
