"""Faults of trust: secrets that a run could show, and checkpoints whose files would run code when they are read."""

from __future__ import annotations

import html
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gspo_lite.training.checkpoint.manifest import newest_complete, write_manifest
from tests.faults import spoil
from tests.faults.cases import HALFWAY, Bench, Row, rows_in_order, steps_done

ENVIRONMENT = {"HF_TOKEN": "hf_aVerySecretValue123", "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567"}
RECIPE = {"api_key": 'it\'s "my" key', "headers": "sk-live_0123456789abcdef"}  # the second known by its shape
LEAKY = """
import os
def leaky(completions, *, api_key, headers, marker, **_):
    print("a reward prints", api_key, headers, flush=True)
    if not os.path.exists(marker):
        open(marker, "w").close()
        raise ValueError(f"401 for {api_key!r}")
    return [float(len(api_key) > 8)] * len(completions)
"""


def secrets(bench: Bench) -> Row:
    """Tokens of environment and recipe in a run that fails in the trainer, then in a reward, and comes to its end."""
    row = Row("secrets")
    (home := bench.folder("secrets")).mkdir()
    (home / "leaky.py").write_text(LEAKY)
    (marker := home / "raised").touch()
    given = {"api_key": RECIPE["api_key"], "headers": [RECIPE["headers"]], "marker": str(marker)}
    rewards = [{"name": f"{home}/leaky.py:leaky", "options": given}, {"name": "math_correct"}]
    folder, problems, texts = home / "run", [], []
    for fault, code in ((spoil.at_step(HALFWAY, "training_step", shout), 4), (marker.unlink, 4), (None, 0)):
        run = bench.start(folder, "--resume", spoil=with_tokens(fault), sets=[f"rewards={json.dumps(rewards)}"])
        problems += [] if run.wait() == code else [f"ended with {run.code}, not {code}: {run.text()[-500:]}"]
        texts.append(run.text())
    problems += [] if "a library prints *** ***" in texts[0] and "Traceback" in texts[0] else ["no leak was tried"]
    problems += (
        [] if "a reward prints *** ['***']" in texts[1] and "401 for" in texts[1] else ["the reward leaked nothing"]
    )
    problems += [] if steps_done(folder) == 10 and rows_in_order(folder) else ["the run was not resumed to its end"]
    said = [line for line in texts[2].splitlines() if line.startswith(("resume", "error", "warning"))]
    changed = any(words in line for line in said for words in ("other secret", "api_key"))
    problems += ["the same secret seems changed"] if changed else []
    for path in [run.out, *folder.rglob("*")]:
        problems += [f"{name} in {path.name}" for name in found_in(path)]
    problems += [f"pickled arguments: {path}" for path in folder.rglob("training_args.bin")]
    row.count(problems)
    return row


def found_in(path: Path) -> list[str]:
    """Names of the planted secrets that a file holds, as they are or as Python, JSON, HTML or YAML write them."""
    content = path.read_bytes() if path.is_file() else b""
    forms = {
        name: {value, repr(value)[1:-1], json.dumps(value)[1:-1], html.escape(value), value.replace("'", "''")}
        for name, value in (ENVIRONMENT | RECIPE).items()
    }
    return [name for name, spelled in forms.items() if any(form.encode() in content for form in spelled)]


def with_tokens(fault: Callable[[], Any] | None) -> Callable[[], None]:
    """A fault in a run whose environment has tokens, and which shows tracebacks."""

    def spoiled() -> None:
        os.environ.update(ENVIRONMENT, GSPO_LITE_DEBUG="1")
        if fault is not None:
            fault()

    return spoiled


def shout(_: Any) -> None:
    print("a library prints", *ENVIRONMENT.values(), flush=True)
    raise ValueError(f"401 for the token {ENVIRONMENT['HF_TOKEN']}")


class Payload:
    """What a pickle can do that should not be read: write a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.marker), "w")


def pickled(bench: Bench) -> Row:
    """A checkpoint from elsewhere whose files are pickles that run code, and whose manifest says that all is well."""
    row = Row("pickle in a checkpoint")
    whole = bench.broken_off("pickle")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        shutil.copytree(whole, folder := bench.folder("pickle"))
        found = newest_complete(folder / "checkpoints").checkpoint
        assert found is not None
        marker = folder / "marker"
        (found.path / name).write_bytes(pickle.dumps(Payload(marker)))
        (found.path / "manifest.json").unlink()
        write_manifest(found.path, found.step, found.needs)
        run = bench.start(folder, "--resume")
        never_read = name == "training_args.bin"
        problems = [] if run.wait() == (0 if never_read else 4) else [f"{name}: ended with {run.code}"]
        problems += ["a traceback"] if "Traceback" in run.text() else []
        problems += [] if never_read or "no plain data" in run.text() else [f"{name}: {run.text()[-400:]}"]
        row.count(problems + ([f"{name}: the payload ran"] if marker.exists() else []))
    return row
