"""Runs of the real command that start in a moment: children forked from a process that has imported everything.

A child is the command line in all but its first second: its own process group, its own stdout and stderr, the
signals' defaults. `spoil` is called in the child before the command begins, to put a fault in.
"""

from __future__ import annotations

import codecs
import faulthandler
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TINY = (
    "training.per_device_train_batch_size=8", "training.max_steps=10", "training.save_steps=1", "data.limit=8",
    "data.eval.limit=2", "generation.max_completion_length=24",
)  # fmt: skip
TIMINGS = {"time", "seconds", "step_time", "tokens_per_second", "eval_runtime"}


def warm_up() -> None:
    """Import what a run imports, and hide from it what the command line hides."""
    codecs.lookup("utf-8-sig")  # a child that is nobody may not read the interpreter's own files
    import torch

    from gspo_lite.models.libraries import OPTIONAL, import_libraries

    import_libraries(("transformers", "peft", "gspo_lite.training.build"), OPTIONAL)
    torch.set_num_threads(1)
    import gspo_lite.evaluation
    import gspo_lite.models.load
    import gspo_lite.report.page
    import gspo_lite.rewards.contract.registry  # noqa: F401


@dataclass
class Run:
    """A run under way, or its end."""

    pid: int
    folder: Path
    out: Path
    code: int | None = None

    def wait(self, seconds: float = 120.0) -> int:
        """The exit code; minus the signal's number where one killed it."""
        end = time.monotonic() + seconds
        while self.wait_briefly() is None and time.monotonic() < end:
            time.sleep(0.01)
        if self.code is None:
            self.kill()
            raise TimeoutError(f"still running after {seconds} s:\n{self.text()}")
        return self.code

    def wait_briefly(self) -> int | None:
        """The exit code where it has ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def kill(self, signum: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signum)

    def text(self) -> str:
        """What it printed."""
        return self.out.read_text(errors="replace")

    def wait_for_step(self, step: int, seconds: float = 60.0) -> None:
        """Return once metrics.jsonl has this step, or the run has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(OSError, ValueError):
                if any(row["step"] >= step for row in rows_of(self.folder / "metrics.jsonl")):
                    return
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(0.005)
        raise TimeoutError(f"step {step} never came:\n{self.text()}")


def start(
    folder: Path, *words: str, sets: Sequence[str] = (), spoil: Callable[[], None] | None = None, recipe: str = ""
) -> Run:
    """Begin `gspo-lite run`."""
    out = folder.with_suffix(".out")
    pairs = [part for one in (*TINY, *sets) for part in ("--set", one)] if not recipe else []
    command = ["gspo-lite", "run", recipe or "quickstart", *pairs, "--output", str(folder), *words]
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        child(command, out, spoil)
    return Run(pid, folder, out)


def child(command: list[str], out: Path, spoil: Callable[[], None] | None) -> None:
    """The command line, to its end."""
    code = 70
    try:
        os.setsid()
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w", 1), os.fdopen(2, "w", 1)
        faulthandler.enable()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = command
        if spoil is not None:
            spoil()
        from gspo_lite.cli import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def outcome(folder: Path) -> dict:
    """What a run learned and wrote, apart from clocks: equal runs have equal outcomes."""
    import hashlib

    weights = hashlib.sha256((folder / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()
    metrics = [
        {key: value for key, value in row.items() if key not in TIMINGS and not key.endswith("/seconds")}
        for row in rows_of(folder / "metrics.jsonl")
    ]
    completions = rows_of(folder / "completions.jsonl")
    evaluation = json.loads((folder / "eval.json").read_text())
    samples = rows_of(folder / "eval_samples.jsonl")
    return {"weights": weights, "metrics": metrics, "completions": completions, "eval": evaluation, "samples": samples}


def differing(one: dict, other: dict) -> list[str]:
    """Names of the parts in which two outcomes differ."""
    return [name for name in one if one[name] != other[name]]


def leftovers(folder: Path) -> list[str]:
    """Files of a run that should have gone by its end."""
    names = [path.name for path in folder.rglob("*")]
    return [name for name in names if name.startswith((".saving-", ".gone-", ".lock")) or name.endswith(".new")]
