"""Runs README's commands in the current folder, `gspo-lite` in children of a process that has imported its libraries.

    python -m tests.readme.forked < commands.json

Each of two dozen commands would else import torch and TRL for ten seconds. Ends at the first surprise.
"""

import json
import os
import shlex
import sys
import time
from pathlib import Path

from tests.faults import zygote

SAID = Path("said.txt")


def main() -> None:
    commands = json.load(sys.stdin)
    zygote.warm_up()
    begun = time.monotonic()
    for number, command, codes in commands:
        print(f"\n>>> {time.monotonic() - begun:.0f} s, README.md:{number}  {command}")
        SAID.unlink(missing_ok=True)
        code = forked(command)
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


if __name__ == "__main__":
    main()
