"""Injects every fault and prints a table: fault, tried, survived, lost steps.

OMP_NUM_THREADS=1 python tests/faults/long.py                       all of it, about 15 minutes on two cores
OMP_NUM_THREADS=1 python tests/faults/long.py --short --json out    what the tests run
OMP_NUM_THREADS=1 python tests/faults/long.py --only-nights         runs that keep their best step, killed 20 times each
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    options = arguments()
    from tests.faults import cases, leaks, night, zygote

    zygote.warm_up()
    base = Path(tempfile.mkdtemp(prefix="gspo-faults-"))
    base.chmod(0o755)
    began = time.monotonic()
    rows = []
    try:
        bench = cases.Bench(base, options.seed)
        if options.only_nights:
            chosen = nights(night, bench, options.nights)
        elif options.short:
            chosen = few(cases, leaks, night, bench)
        else:
            chosen = all_of_them(cases, leaks, night, bench, options)
        for row in chosen:
            rows.append(row)
            note = next((note for note in row.notes if note), "")
            print(f"{time.monotonic() - began:6.0f} s  {row.fault}: {row.survived} of {row.tried} {note}", flush=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    print("\n" + cases.table(rows))
    if options.json:
        options.json.write_text(cases.as_json(rows))
    sys.exit(any(row.survived < row.tried for row in rows))


def few(cases, leaks, night, bench):
    """Some of each kind, for the tests."""
    yield cases.killed_inside_saves(bench, 1)
    yield cases.damaged(bench, "flipped bit", cases.flip_a_bit, 50, resumed=1)
    yield cases.disk_full(bench)
    yield cases.signalled(bench, signal.SIGTERM, 1)
    yield cases.signalled(bench, signal.SIGINT, 1, twice=True)
    yield cases.second_run(bench, stale_too=False)
    yield cases.not_finite(bench, ("rollback",))
    yield from cases.out_of_memory(bench, "a tensor's", "the process'")
    yield leaks.secrets(bench)
    yield night.best_is_kept(bench, 2, "recipe", 1, night.EARLY)
    yield night.best_is_kept(bench, 1, "Python", 1)


def nights(night, bench, tries):
    """Runs that keep their best step, by recipe and by Python code."""
    for path in ("recipe", "Python"):
        for limit in (1, 2, None):
            yield night.best_is_kept(bench, tries, path, limit)
    yield night.best_is_kept(bench, tries, "recipe", 1, night.EARLY)


def all_of_them(cases, leaks, night, bench, options):
    """Every row of the table as it comes."""
    yield cases.killed_inside_saves(bench, options.saves)
    yield cases.killed_inside_saves(bench, options.saves // 5, limit=3)
    yield cases.killed_between_saves(bench, options.kills)
    for name, damage in (("truncated file", cases.truncate), ("flipped bit", cases.flip_a_bit),
                         ("missing file", cases.remove)):  # fmt: skip
        yield cases.damaged(bench, name, damage, options.damages)
    yield from cases.throws(bench)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        yield cases.signalled(bench, signum, options.signals)
    yield cases.signalled(bench, signal.SIGINT, options.signals, twice=True)
    for case in (cases.closed_terminal, cases.second_run, cases.changed_recipe, cases.read_only, cases.dead_grader,
                 cases.not_finite, cases.clock_jump, leaks.secrets, leaks.pickled):  # fmt: skip
        yield case(bench)
    yield from nights(night, bench, options.nights)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="the few of each that the tests run")
    parser.add_argument("--saves", type=int, default=50, help="kills inside the save window")
    parser.add_argument("--kills", type=int, default=20, help="kills between saves")
    parser.add_argument("--signals", type=int, default=5, help="signals of each kind")
    parser.add_argument("--damages", type=int, default=300, help="truncations, flips and removals of each kind")
    parser.add_argument("--nights", type=int, default=20, help="kills of runs that keep their best step, of each kind")
    parser.add_argument("--only-nights", action="store_true", help="nothing but those")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the rows there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
