"""Runs README's commands in the current folder, `gspo-lite` in children of a process that has imported its libraries.

    python -m tests.readme.forked < commands.json

Each of two dozen commands would else import torch and TRL for ten seconds. A recipe that takes Unsloth has a process of its
own, because Unsloth comes before both. Ends at the first surprise.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from tests.faults import zygote

SAID = Path("said.txt")
UNSLOTHS = "recipes/gsm8k_gspo.yaml"


def main() -> None:
    commands = json.load(sys.stdin)
    zygote.warm_up()
    begun = time.monotonic()
    for number, command, codes in commands:
        print(f"\n>>> {time.monotonic() - begun:.0f} s, README.md:{number}  {command}")
        SAID.unlink(missing_ok=True)
        code = alone(command) if UNSLOTHS in command else forked(command)
        print(SAID.read_text(errors="replace"), flush=True)
        if str(code) not in codes.split():
            sys.exit(f"!!! exit code {code}")
    print("\n>>> the end")


def forked(command: str) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        zygote.child(shlex.split(command), SAID, None)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def alone(command: str) -> int:
    with SAID.open("w") as said:
        words = [sys.executable, "-m", "gspo_lite", *shlex.split(command)[1:]]
        return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT).returncode


if __name__ == "__main__":
    main()
