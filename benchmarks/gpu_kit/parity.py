"""The patched trainer's micro-steps against the float64 twin, on the card: the worst gaps, one line a scenario.

python3 .gpu/parity.py [--dry-run]      from the repository's root
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

CONTROL = "control: no stop-gradient"
SCENARIOS = ("gspo", "gspo_token", "gspo_token credit", "gspo_token credit beta", "gspo_token credit dapo", CONTROL)
DRY = ("gspo_token credit", CONTROL)
WORST = ("loss", "gradient", "largest_log_ratio")


def report(line: str) -> bool:
    """Print a scenario's worst gaps; whether they are as they should be."""
    found = json.loads(line)
    if "error" in found:
        print("RESULT", line)
        return False
    worst = {key: max(gap[key] for gap in found["gaps"]) for key in WORST}
    right = worst["gradient"] > 0.1 if found["scenario"] == CONTROL else small(worst)
    figures = {key: float(f"{value:.2e}") for key, value in worst.items()}
    steps = len(found["gaps"])
    row: dict[str, Any] = {"scenario": found["scenario"], "micro_steps": steps, **figures, "as_it_should": right}
    print("RESULT", json.dumps(row))
    return right


def small(worst: dict[str, float]) -> bool:
    """Return whether the gaps are what float32 leaves; sums on a GPU come in another order each time."""
    return worst["loss"] < 1e-5 and worst["gradient"] < 1e-4


def main() -> None:
    dry = "--dry-run" in sys.argv
    words = list(DRY) if dry else ["--cuda", *SCENARIOS]
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "tests/unsloth/patched_trainer.py", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
    right = [report(line) for line in done.stdout.splitlines() if line.startswith('{"scenario"')]
    sys.exit(0 if right and all(right) and not done.returncode else 1)


if __name__ == "__main__":
    main()
