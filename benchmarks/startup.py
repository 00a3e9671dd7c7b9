"""Seconds from a cold process to an answer: the light commands, and `run` up to its first step beside plain TRL.

    python benchmarks/startup.py [--rounds 5] [--json FILE]
    python benchmarks/startup.py --quick             # one round of the light commands only

Every figure is a process of its own, in turns; the files are in the page cache after the first, uncounted turn. `first
step` is the quickstart, starter cached, from process start to the begin and to the end of its first optimizer step
(which samples the first rollout): through gspo-lite as it is, with its evaluation of the held-out problems before
training left out, and through plain_trl.py, which has none.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from contenders import launch, moment, shown, spread, words_of, write_settings

LIGHT = {
    "python alone": ["-c", "pass"],
    "import gspo_lite": ["-c", "import gspo_lite"],
    "--help": ["-m", "gspo_lite", "--help"],
    "check quickstart": ["-m", "gspo_lite", "check", "quickstart"],
    "recipes": ["-m", "gspo_lite", "recipes"],
    "rewards list": ["-m", "gspo_lite", "rewards", "list"],
}
FIRST_STEP = {
    "first step, gspo-lite": ("ours", ["--first-step"]),
    "first step, gspo-lite unmeasured": ("ours", ["--first-step", "--unmeasured"]),
    "first step, plain TRL": ("trl", ["--first-step"]),
}


def light(words: Sequence[str]) -> float:
    """Seconds of one light command."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - start


def first_step(contender: str, options: Sequence[str], folder: Path) -> dict[str, float]:
    """Seconds to the begin and the end of the first step, and the CPU seconds behind them."""
    marks = folder / "marks.jsonl"
    rows = launch([*words_of(contender, folder, marks, []), *options], marks)
    cpu = {row["mark"]: row["cpu"] for row in rows if "cpu" in row}
    return {
        "begins": moment(rows, "step begins"),
        "ends": moment(rows, "step ends"),
        "CPU to its begin": cpu["step begins"],
        "CPU to its end": cpu["step ends"],
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round of the light commands")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(words)
    seconds: dict[str, list[float]] = defaultdict(list)
    folder = Path(tempfile.mkdtemp(prefix="startup-"))
    if not chosen.quick:
        write_settings(folder, [])
    for turn in range(2 if chosen.quick else chosen.rounds + 1):
        measured = [(name, light(command)) for name, command in LIGHT.items()]
        for name, (contender, options) in {} if chosen.quick else FIRST_STEP.items():
            found = first_step(contender, options, folder)
            measured += [(f"{name} {moment_}", value) for moment_, value in found.items()]
        if turn:  # the first reads the files
            for name, value in measured:
                seconds[name].append(value)
    results = {name: spread(values) for name, values in seconds.items()}
    for name, values in results.items():
        print(f"{name:50} {shown(values, ' s')}")
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
