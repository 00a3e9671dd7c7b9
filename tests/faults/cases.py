"""Every fault a run promises to survive, really injected, and what came of it.

A case begins runs in a folder of its own and returns a row of the table: tried, survived, optimizer steps that had to
be made again, and what went wrong where something did. Survived means: said what the promise says, and after
`--resume` equal to the undisturbed run, bit for bit.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gspo_lite.training.checkpoint.manifest import fault_of, newest_complete
from tests.faults import spoil
from tests.faults.zygote import Run, differing, leftovers, outcome, rows_of, start

HALFWAY = 6  # optimizer steps after which most faults come: inside the second rollout


@dataclass
class Row:
    """What came of one fault."""

    fault: str
    tried: int = 0
    survived: int = 0
    lost: int = 0  # optimizer steps made twice, in all tries
    notes: list[str] = field(default_factory=list)

    def count(self, problems: list[str], lost: int = 0) -> None:
        self.tried += 1
        self.survived += not problems
        self.lost += lost
        self.notes += problems


class Bench:
    """Where cases run, and the undisturbed run they are compared with."""

    def __init__(self, base: Path, seed: int = 0):
        self.base, self.random, self.number = base, random.Random(seed), 0
        base.mkdir(parents=True, exist_ok=True)
        reader, writer = os.pipe()
        run = self.start(folder := base / "undisturbed", spoil=spoil.save_window(writer))
        os.close(writer)
        marks = []
        while os.read(reader, 1):
            marks.append(time.monotonic())
        os.close(reader)
        assert run.wait() == 0, run.text()
        self.expected = outcome(folder)
        self.save_seconds = sorted(end - begin for begin, end in zip(marks[::2], marks[1::2], strict=True))[5]

    def folder(self, name: str) -> Path:
        self.number += 1
        return self.base / f"{self.number:03}-{name}"

    def start(self, folder: Path, *words: str, **options: Any) -> Run:
        return start(folder, *words, **options)

    def finish(self, folder: Path, *words: str, **options: Any) -> list[str]:
        """Resume to the end; what differs from the undisturbed run."""
        run = self.start(folder, "--resume", *words, **options)
        if run.wait() != 0:
            return [f"resume ended with {run.code}: {run.text()[-400:]}"]
        problems = [f"{name} differ" for name in differing(self.expected, outcome(folder))]
        return problems + [f"left over: {name}" for name in leftovers(folder)]

    def broken_off(self, name: str, step: int = HALFWAY) -> Path:
        """A run killed after `step` steps, its newest checkpoint whole."""
        run = self.start(folder := self.folder(name))
        run.wait_for_step(step + 1)
        run.kill()
        run.wait()
        return folder


def steps_done(folder: Path) -> int:
    """Optimizer steps in metrics.jsonl, a line cut off left out."""
    path = folder / "metrics.jsonl"
    return path.read_text().count("\n") if path.is_file() else 0


def whole_step(folder: Path) -> int:
    """The step a run would go on from."""
    found = newest_complete(folder / "checkpoints").checkpoint
    return 0 if found is None else found.step


def killed_between_saves(bench: Bench, tries: int) -> Row:
    row = Row("kill -9 between saves")
    for _ in range(tries):
        run = bench.start(folder := bench.folder("kill"), sets=["training.save_steps=4"])
        run.wait_for_step(bench.random.randint(1, 9))
        time.sleep(bench.random.uniform(0, 0.2))
        run.kill()
        run.wait()
        lost = steps_done(folder) - whole_step(folder)
        row.count(bench.finish(folder, sets=["training.save_steps=4"]), lost)
    return row


def killed_inside_saves(bench: Bench, tries: int, limit: int = 1) -> Row:
    """Kills at random offsets inside the save window, one after the other in the same run until it is through."""
    row = Row(f"kill -9 inside a save, save_total_limit {limit}")
    sets = [f"output.save_total_limit={limit}"]
    while row.tried < tries:
        folder, kills, problems, lost, ended = bench.folder("save"), 0, [], 0, False
        while not (problems or ended) and kills < 8 and row.tried + kills < tries:
            before = whole_step(folder)
            inside = killed_in_save(bench, folder, ["--resume"] if kills else [], sets)
            ended = inside is None
            kills += bool(inside)  # one that came too late was a kill between saves, and is not counted
            after = whole_step(folder)
            lost += 0 if ended else steps_done(folder) - after
            if after < before:
                problems.append(f"step {before} was whole before the kill, {after} after it")
        problems = problems or bench.finish(folder, sets=sets)
        for index in range(kills):
            row.count(problems, 0 if index else lost)
        shutil.rmtree(folder, ignore_errors=True)
    return row


def killed_in_save(bench: Bench, folder: Path, words: list[str], sets: list[str]) -> bool | None:
    """Kill at a random offset into one of the next saves; whether the save had not ended, None where the run had."""
    reader, writer = os.pipe()
    run = bench.start(folder, *words, sets=sets, spoil=spoil.save_window(writer))
    os.close(writer)
    try:
        for _ in range(2 * bench.random.randint(0, 2)):
            os.read(reader, 1)  # the beginning or the end of a save that is let through
        if not os.read(reader, 1):
            run.wait()
            return None
        time.sleep(bench.random.uniform(0, bench.save_seconds))
        run.kill()
        run.wait()
        return not os.read(reader, 1)
    finally:
        os.close(reader)


def damaged(
    bench: Bench, name: str, damage: Callable[[Path, random.Random], None], flips: int, resumed: int = 2
) -> Row:
    """One fault in any file of the newest checkpoint: noticed in every case, and `resumed` of them resumed for real."""
    row = Row(name)
    folder = bench.broken_off("damage")
    newest = newest_complete(folder / "checkpoints").checkpoint
    assert newest is not None
    files = [path for path in newest.path.rglob("*") if path.is_file()]
    for index in range(max(flips, len(files))):
        path = files[index % len(files)]
        content = path.read_bytes()
        damage(path, bench.random)
        fault = fault_of(newest.path)
        if index < resumed:
            copy = bench.folder("damaged")
            shutil.copytree(folder, copy)
            row.count(bench.finish(copy), 1)
        else:
            row.count([] if fault else [f"{path.name} passed for whole"])
        path.write_bytes(content)
    return row


def truncate(path: Path, rng: random.Random) -> None:
    with path.open("rb+") as file:
        file.truncate(rng.randrange(path.stat().st_size))


def flip_a_bit(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))


def remove(path: Path, _: random.Random) -> None:
    path.unlink()


def faulty(
    bench: Bench, name: str, fault: Callable[[], None], code: int, says: list[str], lost: int = 0, sets: Any = ()
) -> Row:
    """A run that a fault ends with an exit code and words, and that is whole after resuming without the fault."""
    row = Row(name)
    run = bench.start(folder := bench.folder("fault"), spoil=fault, sets=sets)
    problems = [] if run.wait() == code else [f"ended with {run.code}, not {code}: {run.text()[-600:]}"]
    problems += [f"does not say `{word}`: {run.text()[-600:]}" for word in says if word not in run.text()]
    problems += ["a traceback"] if "Traceback" in run.text() else []
    again = steps_done(folder) - whole_step(folder)
    problems += [f"{again} steps lost, not {lost}"] if again > lost else []
    row.count(problems or bench.finish(folder), again)
    return row


def signalled(bench: Bench, signum: int, tries: int, twice: bool = False) -> Row:
    """A signal at a random moment: a checkpoint of the last step done, the signal's exit code, within a step."""
    row = Row(f"{signal.Signals(signum).name}{', twice' if twice else ''}")
    for _ in range(tries):
        run = bench.start(folder := bench.folder("signal"), sets=["training.save_steps=null"])
        run.wait_for_step(bench.random.randint(1, 8))
        time.sleep(bench.random.uniform(0, 0.3))
        run.kill(signum)
        if twice:
            time.sleep(bench.random.uniform(0, 0.05))
            run.kill(signum)
        began = time.monotonic()
        code = run.wait()
        problems = [] if code == 128 + signum else [f"ended with {code}: {run.text()[-500:]}"]
        took = time.monotonic() - began
        problems += [f"took {took:.1f} s"] if took > (1 if twice else 5) else []
        lost = steps_done(folder) - whole_step(folder)
        problems += [f"{lost} steps lost"] if lost and not twice else []
        row.count(problems or bench.finish(folder), lost)
    return row


def second_run(bench: Bench, stale_too: bool = True) -> Row:
    row = Row("a second run on the same folder")
    run = bench.start(folder := bench.folder("two"))
    run.wait_for_step(1)
    other = bench.start(folder, "--resume")
    problems = [] if other.wait() == 2 else [f"ended with {other.code}"]
    problems += [] if f"process {run.pid}" in run.text() else [f"pid not named: {run.text()[-300:]}"]
    run.wait()
    row.count(problems + [f"{name} differ" for name in differing(bench.expected, outcome(folder))])
    if not stale_too:
        return row
    (stale := bench.folder("stale")).mkdir()
    (stale / ".lock").write_text("1")  # the number of a process that lives, but that holds nothing
    row.count(bench.finish(stale))
    return row


def changed_recipe(bench: Bench) -> Row:
    row = Row("resume with a changed recipe")
    folder = bench.broken_off("changed")
    sets = ["training.learning_rate=1e-4"]
    run = bench.start(folder, "--resume", sets=sets)
    problems = [] if run.wait() == 2 else [f"ended with {run.code}"]
    problems += [] if "`training.learning_rate` was 0.0003, is 0.0001" in run.text() else [run.text()[-400:]]
    row.count(problems or bench.finish(folder, sets=["output.completions_per_step=4"]))
    forced = bench.start(bench_folder := bench.broken_off("forced"), "--resume", "--force", sets=sets)
    row.count([] if forced.wait() == 0 and steps_done(bench_folder) == 10 else [forced.text()[-400:]])
    return row


def read_only(bench: Bench) -> Row:
    row = Row("read-only folder")
    (home := bench.folder("readonly")).mkdir()
    home.chmod(0o555)
    run = bench.start(home / "run", spoil=None if os.getuid() else spoil.nobody)
    run.out = home / "run.out" if os.getuid() else run.out
    problems = [] if run.wait() == 2 else [f"ended with {run.code}: {run.text()[-300:]}"]
    row.count(problems + ([] if "cannot be written to" in run.text() else [run.text()[-300:]]))
    home.chmod(0o755)
    return row


def dead_grader(bench: Bench) -> Row:
    """The process that grades formulas is killed, twice; another takes its place and the run goes on."""
    row = Row("grading worker killed")
    (home := bench.folder("grader")).mkdir()
    asked = [{"prompt": f"What is {n} + {n}?", "answer": f"x^2 + {n}"} for n in range(10, 18)]
    (home / "formulas.jsonl").write_text("\n".join(json.dumps(one) for one in asked))
    sets = [f"data.source={home}/formulas.jsonl", "data.subset=null", f"data.eval.source={home}/formulas.jsonl"]
    run = bench.start(folder := home / "run", sets=sets)
    killed = 0
    for step in (1, 5):
        run.wait_for_step(step)
        for pid in children(run.pid):
            if "grader_worker" in command_of(pid):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    problems = [] if run.wait() == 0 else [f"ended with {run.code}: {run.text()[-400:]}"]
    problems += [] if killed else ["there was no worker to kill"]
    row.count(problems or ([] if rows_in_order(folder) else ["steps are missing"]))
    return row


def children(pid: int) -> list[int]:
    listed = [one.name for one in Path("/proc").iterdir() if one.name.isdigit()]
    return [int(one) for one in listed if parent_of(one) == pid]


def parent_of(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


NOT_FINITE = (spoil.nan_loss(HALFWAY), spoil.nan_gradient(HALFWAY), spoil.overflowing_weight(HALFWAY))


def not_finite(bench: Bench, actions: Sequence[str] = ("stop", "rollback")) -> Row:
    """NaN or infinity in loss, gradient or weight at one step."""
    row = Row("NaN in loss, gradient, weight")
    for fault in NOT_FINITE:
        for action in actions:
            code = 4 if action == "stop" else 0
            sets = [f"training.guards.non_finite={action}"]
            run = bench.start(folder := bench.folder("nan"), spoil=fault, sets=sets)
            problems = [] if run.wait() == code else [f"{action} ended with {run.code}: {run.text()[-500:]}"]
            problems += [] if "finite" in run.text() else ["nothing said"]
            problems += poisoned(folder)
            row.count(problems or (bench.finish(folder) if action == "stop" else []))
    return row


def poisoned(folder: Path) -> list[str]:
    """Checkpoints and adapters with a weight that is not finite."""
    import torch
    from safetensors.torch import load_file

    paths = list(folder.rglob("adapter_model.safetensors"))
    bad = [path for path in paths if not all(torch.isfinite(t).all() for t in load_file(path).values())]
    return [f"not finite: {path}" for path in bad]


def closed_terminal(bench: Bench) -> Row:
    """The terminal goes away: SIGHUP comes, and nothing more can be printed."""
    row = Row("closed terminal")
    reader, writer = os.pipe()

    def onto_a_pipe() -> None:
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        os.close(writer)
        os.close(reader)

    run = bench.start(folder := bench.folder("terminal"), spoil=onto_a_pipe, sets=["training.save_steps=null"])
    os.close(writer)
    run.wait_for_step(HALFWAY)
    os.close(reader)
    run.kill(signal.SIGHUP)
    problems = [] if run.wait() == 129 else [f"ended with {run.code}"]
    lost = steps_done(folder) - whole_step(folder)
    problems += [f"{lost} steps lost"] if lost else []
    row.count(problems or bench.finish(folder), lost)
    return row


def disk_full(bench: Bench) -> Row:
    says = ["could not be written", "bytes", "free", "checkpoint-6"]
    return faulty(bench, "disk full while saving", spoil.file_size_limit(HALFWAY, 1_000_000), 4, says, lost=1)


def throws(bench: Bench) -> Iterator[Row]:
    """What ends a run with an error in words, the last step saved first."""
    yield disk_full(bench)
    says = ["reward `mine` raised", "holds step 8", "--resume"]
    fault = spoil.at_step(5, "_generate_and_score_completions", spoil.reward_raises)
    yield faulty(bench, "reward raises", fault, 4, says, sets=["training.save_steps=null"])
    yield from out_of_memory(bench)
    says = ["needs about", "1,000 are free"]
    yield faulty(bench, "no room before a save", spoil.little_room(HALFWAY, 1000), 4, says, lost=1)
    yield faulty(bench, "disk full for metrics", spoil.no_room_for_metrics(HALFWAY), 4, ["No space left"], lost=1)


MEMORY = {"a GPU's": spoil.out_of_memory, "a tensor's": spoil.tensor_too_large, "the process'": spoil.little_memory,
          "Python's": spoil.python_without_memory}  # fmt: skip


def out_of_memory(bench: Bench, *whose: str) -> Iterator[Row]:
    """Memory that does not do, really asked for except a GPU's."""
    says = ["out of memory at step 7", "per_device_train_batch_size", "max_completion_length", "max_seq_length"]
    for name in whose or MEMORY:
        fault = spoil.at_step(HALFWAY, "training_step", MEMORY[name])
        sets = ["training.save_steps=null"]
        yield faulty(bench, f"out of memory, {name}", fault, 4, [*says, "holds step 6"], sets=sets)


def clock_jump(bench: Bench) -> Row:
    row = Row("clock jumps back a day, ahead a year")
    for seconds in (-86_400, 365 * 86_400):
        run = bench.start(folder := bench.folder("clock"), spoil=spoil.clock_jumps(4, seconds))
        problems = [] if run.wait() == 0 else [f"ended with {run.code}: {run.text()[-300:]}"]
        row.count(problems or [f"{name} differ" for name in differing(bench.expected, outcome(folder))])
    return row


def rows_in_order(folder: Path) -> bool:
    """Whether metrics.jsonl has each step once."""
    steps = [row["step"] for row in rows_of(folder / "metrics.jsonl")]
    return steps == list(range(1, len(steps) + 1))


def table(rows: list[Row]) -> str:
    """The rows as text, the worst notes below."""
    lines = [f"{'fault':44} {'tried':>6} {'survived':>9} {'lost steps':>11}"]
    lines += [f"{row.fault:44} {row.tried:6} {row.survived:9} {row.lost:11}" for row in rows]
    notes = [f"{row.fault}: {note}" for row in rows for note in row.notes[:3] if note]
    return "\n".join([*lines, *notes])


def as_json(rows: list[Row]) -> str:
    return json.dumps([vars(row) for row in rows], indent=1)
