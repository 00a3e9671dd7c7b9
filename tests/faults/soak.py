"""Two long runs side by side: one is killed about once a minute and goes on, its twin is left alone. Prints a table.

    OMP_NUM_THREADS=1 python tests/faults/soak.py                   45 minutes
    OMP_NUM_THREADS=1 python tests/faults/soak.py --minutes 5       the same, shorter

Both have a reward that raises, exits or gives NaN at random completions (the same ones in both runs, for a hash of the
text decides). In the killed run it also ends the process now and then, in four ways, at moments that chance decides.
At the end both are brought to the same step and must be equal in metrics, completions and weights. How memory grows
over one process' life is measured on the twin, because every kill gives memory back.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.faults import cases, zygote

REWARD = '''
import hashlib, os, random, signal, sys
from gspo_lite.errors import RewardError

def flaky(completions, **_):
    """Half the digits of a completion; throws at one text in ten, at chance moments at everything."""
    asked_for_all = len(completions) > 1  # and not for one row, to find which of them failed
    if asked_for_all and os.environ.get("SOAK_DEADLY") and random.SystemRandom().random() < 1 / 150:
        form = random.SystemRandom().randrange(4)
        if form == 0:
            raise RewardError("the reward gave up")
        os._exit(9) if form == 1 else os.abort() if form == 2 else os.kill(os.getpid(), signal.SIGSEGV)
    return [score(one[0]["content"]) for one in completions]

def score(text):
    draw = hashlib.sha256(text.encode()).digest()[0]
    if draw < 12:
        raise ValueError(f"thrown at {draw}")
    if draw < 18:
        sys.exit("left")
    return float("nan") if draw < 25 else sum(c.isdigit() for c in text) / (2 * len(text) + 1)
'''
SETS = ("training.save_steps=5", "training.max_steps=1000000", "training.guards.rollouts=100000")
SUBREAPER = 36  # prctl: orphans of the runs become children of this process, where they are found
MEMORY = ("VmRSS", "RssAnon")  # resident, and what of it is no page of a file: those come and go with the kernel
SAMPLE = 2.0  # seconds between two looks at memory
WARM = 10 / 45  # share of the time after which memory must be flat: the first 10 minutes of 45


@dataclass
class Twin:
    """The run that is left alone, and what it held."""

    run: Any
    samples: list[dict[str, float]] = field(default_factory=list)  # seconds, and MiB of each of MEMORY

    def look(self, now: float) -> None:
        with open(f"/proc/{self.run.pid}/status") as file:
            held = dict(line.split(":", 1) for line in file)
        self.samples.append({"seconds": now} | {name: int(held.get(name, "0 kB").split()[0]) / 1024 for name in MEMORY})

    def growth(self, name: str, seconds: float) -> tuple[float, float]:
        """Memory after the warm-up, MiB, and by what share the last minutes lie above it: medians of a tenth each."""
        later = [sample[name] for sample in self.samples if sample["seconds"] >= seconds * WARM and sample["VmRSS"] > 0]
        tenth = max(len(later) // 10, 1)
        first, last = statistics.median(later[:tenth]), statistics.median(later[-tenth:])
        return first, last / first - 1


@dataclass
class Killed:
    """The run that is killed again and again, and what ended it each time."""

    folder: Path
    sets: list[str]
    rng: random.Random
    every: float
    run: Any = None
    due: float = 0.0
    whole: int = 0  # the step it goes on from
    ends: list[int] = field(default_factory=list)
    lost: int = 0  # steps that had to be made again

    def begin(self) -> None:
        self.whole = cases.whole_step(self.folder)
        self.run = zygote.start(self.folder, "--resume", sets=self.sets, spoil=deadly)
        self.due = time.monotonic() + self.rng.uniform(0.75, 1.25) * self.every

    def look(self) -> bool:
        """Kill it where that is due, begin again where it ended; whether it came through."""
        if (
            time.monotonic() >= self.due and cases.steps_done(self.folder) > self.whole + 6
        ):  # on a slow machine: some way
            self.run.kill()
            self.run.wait()
        elif self.run.wait_briefly() is None:
            return False
        if self.run.code == 0:
            return True
        self.ends.append(self.run.code)
        self.lost += cases.steps_done(self.folder) - cases.whole_step(self.folder)
        self.begin()
        return False


def deadly() -> None:
    os.environ["SOAK_DEADLY"] = "1"


def main() -> None:
    options = arguments()
    base = Path(tempfile.mkdtemp(prefix="gspo-soak-"))
    (base / "tmp").mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(base / "tmp")
    ctypes.CDLL(None).prctl(SUBREAPER, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing of it is left either
    (base / "flaky.py").write_text(REWARD)
    zygote.warm_up()
    there = set((base / "tmp").iterdir())
    try:
        facts, problems = soaked(base, options)
        problems += [f"a process is left: {cases.command_of(pid)!r}" for pid in alive()]
        problems += [f"a file is left: {path.name}" for path in set((base / "tmp").iterdir()) - there]
        samples = facts.pop("samples", [])
        print("\n".join(f"{name:44} {value}" for name, value in facts.items()))
        print("\n".join(problems) or "nothing was lost, nothing is left")
        if options.json:
            options.json.write_text(json.dumps({"facts": facts, "problems": problems, "samples": samples}, indent=1))
        sys.exit(bool(problems))
    finally:
        for pid in alive():
            os.kill(pid, signal.SIGKILL)
        if options.keep:
            print(f"kept: {base}")
        else:
            shutil.rmtree(base, ignore_errors=True)


def alive() -> list[int]:
    """Children that have not ended, orphans of the runs among them; those that have are taken off the list."""
    time.sleep(1)  # a worker ends with its run, but a moment later
    found = []
    for pid in cases.children(os.getpid()):
        with suppress(ChildProcessError):
            found += [] if os.waitpid(pid, os.WNOHANG)[0] else [pid]
    return found


def soaked(base: Path, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Both runs, to the end and compared."""
    seconds, rng = options.minutes * 60, random.Random(options.seed)
    sets = [*SETS, f"rewards=[{{name: '{base}/flaky.py:flaky', on_error: skip}}, {{name: math_correct}}]"]
    twin = Twin(zygote.start(base / "twin", sets=sets))
    killed = Killed(base / "killed", sets, rng, options.every)
    killed.begin()
    began, said = time.monotonic(), 0.0
    while (now := time.monotonic() - began) < seconds:
        time.sleep(SAMPLE)
        twin.look(now)
        killed.look()
        if twin.run.wait_briefly() is not None:
            return {}, [f"the undisturbed run ended with {twin.run.code}: {twin.run.text()[-2000:]}"]
        if now - said >= 60:
            said = now
            steps = [cases.steps_done(run.folder) for run in (twin.run, killed)]
            held = twin.samples[-1]["VmRSS"]
            print(f"{now:6.0f} s  steps {steps}, ended {len(killed.ends)}, {held:.0f} MiB", flush=True)
    (memory, growth), (_, own) = (twin.growth(name, seconds) for name in MEMORY)
    problems = finished(twin, killed, sets)
    one, other = zygote.outcome(base / "twin"), zygote.outcome(base / "killed")
    problems += [f"{name} differ{where(one[name], other[name])}" for name in zygote.differing(one, other)]
    problems += [] if cases.rows_in_order(base / "killed") else ["steps are missing or double"]
    problems += [f"left over: {name}" for folder in ("twin", "killed") for name in zygote.leftovers(base / folder)]
    problems += [] if growth < 0.02 else [f"memory grew by {growth:.1%}"]
    thrown = sum(row.get("rewards/flaky/error_count", 0) for row in one["metrics"])
    problems += [] if thrown else ["the reward never threw"]
    return {
        "minutes": round((time.monotonic() - began) / 60, 1),
        "steps of each run": len(one["metrics"]),
        "kill -9": killed.ends.count(-signal.SIGKILL),
        "processes ended by the reward": len(killed.ends) - killed.ends.count(-signal.SIGKILL),
        "their exit codes": dict(sorted((str(code), killed.ends.count(code)) for code in set(killed.ends))),
        "rows at which the reward threw": int(thrown),
        "steps made twice": killed.lost,
        "weights, sha256": one["weights"][:16],
        "the same after all kills": one["weights"] == other["weights"],
        "memory of the undisturbed run after warm-up": f"{memory:.0f} MiB",
        "its growth from there to the end": f"{growth:+.2%}",
        "the same without pages of files": f"{own:+.2%}",
        "samples": twin.samples,
    }, problems


def where(one: Any, other: Any) -> str:
    """The first row in which two lists differ, and its keys that do."""
    pairs = zip(one, other, strict=False) if isinstance(one, list) and isinstance(other, list) else ()
    row = next(((a, b) for a, b in pairs if a != b), None)
    return (
        ""
        if row is None
        else f" from step {row[0].get('step')}: {[key for key in row[0] if row[0][key] != row[1].get(key)]}"
    )


def finished(twin: Twin, killed: Killed, sets: list[str]) -> list[str]:
    """Bring both runs to the same step; what went wrong with that."""
    twin.run.kill(signal.SIGTERM)
    problems = [] if twin.run.wait() == 143 else [f"SIGTERM ended the twin with {twin.run.code}"]
    killed.run.kill(signal.SIGTERM)
    killed.run.wait()
    last = max(cases.whole_step(twin.run.folder), cases.whole_step(killed.folder))
    sets = [*sets, f"training.max_steps={last}"]
    run = zygote.start(twin.run.folder, "--resume", sets=sets)
    problems += [] if run.wait(seconds=7200) == 0 else [f"the twin ended with {run.code}: {run.text()[-2000:]}"]
    killed.sets = sets
    killed.begin()
    while not killed.look():
        time.sleep(0.2)
    return problems


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between kills, give or take a quarter")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="leave the run folders for a look")
    parser.add_argument("--json", type=Path, help="write the table there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
