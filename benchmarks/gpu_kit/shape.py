"""One scenario of tests/gpu in a process of its own, told in one line.

python3 .gpu/shape.py NAME [--dry-run]      from the repository's root
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def figures(name: str, run: dict[str, Any]) -> dict[str, Any]:
    """Return what matters of one run, the peak of its memory beside what `plan` predicts."""
    predicted = max(run["predicted"].values())
    return {
        "scenario": name, "steps": len(run["steps"]), "moved": round(run["moved"], 4), "dtypes": run["dtypes"],
        "patched": run["patched"], "peak_gib": round(run["peak_gib"], 2), "predicted_gib": round(predicted, 2),
        "ratio": round(run["peak_gib"] / predicted, 3), "loss": [round(value, 4) for value in run["loss"][-3:]],
        "reward": [round(value, 3) for value in run["reward"][-3:]], "before": run["before"], "after": run["after"],
    }  # fmt: skip


def report(line: str) -> bool:
    """Print a line for each run of a scenario; whether it ended well."""
    found = json.loads(line)
    if "error" in found:
        print("RESULT", line)
        return False
    runs = {"": found} if "peak_gib" in found else {part: found[part] for part in ("whole", "parts")}
    for part, run in runs.items():
        print("RESULT", json.dumps(figures(f"{found['scenario']} {part}".strip(), run)))
    return True


def main() -> None:
    command = [sys.executable, "-m", "tests.gpu.scenarios", *sys.argv[1:]]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    right = [report(line) for line in done.stdout.splitlines() if line.startswith('{"scenario"')]
    sys.exit(0 if right and all(right) and not done.returncode else 1)


if __name__ == "__main__":
    main()
