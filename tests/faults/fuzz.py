"""Feeds hostile inputs to the recipe loader and to everything that reads a model's text. Prints a table.

    python tests/faults/fuzz.py                      1,000,000 inputs
    python tests/faults/fuzz.py --inputs 5000        what the tests run, in a few seconds
    python tests/faults/fuzz.py --only "spelling.spell" --case 4711      one input again

A failure is an exception that is not allowed, a broken property, or an input that takes more than a second: of CPU
time where the function or a process it starts does the work, of wall time where it waits for the grader; the best of
four tries, so that a busy machine is not taken for a slow function.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

SLOW = 1.0  # seconds that no input may take
HUNG = 20.0  # seconds after which one is broken off
NOTED = 3  # failures of a target that are shown in full


@dataclass
class Tally:
    """What came of one target's inputs."""

    name: str
    inputs: int = 0
    failures: int = 0
    slowest: float = 0.0  # seconds
    notes: list[str] = field(default_factory=list)

    def fail(self, case: int, what: str) -> None:
        self.failures += 1
        self.notes.append(f"{self.name}, case {case}: {what}"[:400])
        print(self.notes[-1], file=sys.stderr, flush=True)


class Hung(BaseException):
    """An input took longer than anything may."""


def main() -> None:
    options = arguments()
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="gspo-fuzz-", dir=memory) as tempfile.tempdir:
        sys.exit(fuzz_all(options))


def fuzz_all(options: argparse.Namespace) -> bool:
    """Whether anything failed; the table on stdout."""
    signal.signal(signal.SIGALRM, hung)
    from tests.faults.fuzz_targets import targets

    chosen = [one for one in targets() if options.only in one.name]
    shares = sum(one.share for one in chosen)
    tallies = []
    for target in chosen:
        count = max(int(options.inputs * target.share / shares + 0.999), 5)
        cases = [options.case] if options.case is not None else range(count)
        tallies.append(fuzzed(target, options.seed, cases))
        if options.inputs >= 100_000:
            print(f"{tallies[-1].inputs:9,} {target.name}: {tallies[-1].failures}", file=sys.stderr, flush=True)
    print(table(tallies))
    if options.json:
        options.json.write_text(json.dumps([vars(one) for one in tallies], indent=1))
    return any(one.failures for one in tallies)


def fuzzed(target, seed, cases):
    """All inputs of one target."""
    tally = Tally(target.name)
    for case in cases:
        arguments = target.make(random.Random(f"{seed} {target.name} {case}"))
        tally.inputs += 1
        seconds, problem = tried(target, arguments)
        if problem is None and seconds > SLOW:
            seconds = min(seconds, *(tried(target, arguments)[0] for _ in range(3)))
            problem = f"took {seconds:.1f} s" if seconds > SLOW else None
        tally.slowest = max(tally.slowest, seconds)
        if problem is not None:
            tally.fail(case, f"{problem} at {shown(arguments)}")
    return tally


def tried(target, arguments):
    """Seconds that one call took, by the target's clock, and what was wrong with it."""
    start = target.clock()
    problem = None
    try:
        with time_limit():
            target.call(*arguments)
    except target.allowed:
        pass
    except Hung:
        problem = f"took more than {HUNG:g} s"
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    return target.clock() - start, problem


@contextmanager
def time_limit() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_REAL, HUNG)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def hung(*_):
    raise Hung


def shown(arguments):
    text = ascii(arguments)
    return text if len(text) <= 200 else f"{text[:150]}... ({len(text)} characters)"


def table(tallies):
    lines = [f"{'function':42} {'inputs':>10} {'failures':>9} {'slowest, s':>11}"]
    lines += [f"{one.name:42} {one.inputs:10,} {one.failures:9,} {one.slowest:11.3f}" for one in tallies]
    inputs, failures = (sum(getattr(one, name) for one in tallies) for name in ("inputs", "failures"))
    lines.append(f"{'all':42} {inputs:10,} {failures:9,} {max(one.slowest for one in tallies):11.3f}")
    return "\n".join([*lines, *(note for one in tallies for note in one.notes[:NOTED])])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="targets whose name holds this")
    parser.add_argument("--case", type=int, help="one input again, by its number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the table there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
