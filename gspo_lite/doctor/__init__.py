"""Checks whether a run can work on this machine, and with a given recipe: `gspo-lite doctor`.

Every check is a function of a `Machine`, so that a machine can also be checked from its description.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from gspo_lite.doctor.check import Check
from gspo_lite.doctor.fitness import FITNESS
from gspo_lite.doctor.hardware import disk, driver, gpu, memory, precision, system
from gspo_lite.doctor.machine import Machine, this_machine
from gspo_lite.doctor.packages import engines, install_line, matrix, python, stack
from gspo_lite.errors import GspoLiteError, first_line
from gspo_lite.recipe.schema import Recipe

__all__ = ["Check", "Machine", "as_dict", "examine", "lines_of", "this_machine", "works"]

MACHINE_CHECKS = (python, system, gpu, driver, precision, memory, disk, stack, matrix, engines)
SelfTest = Callable[[], dict[str, float]]


def examine(machine: Machine, recipe: Recipe | None = None, self_test: SelfTest | None = None) -> list[Check]:
    """Run every check of a machine, and of a recipe on it.

    Args:
        self_test: runs the loss self-test and returns its gaps by name; None reports it as skipped.
    """
    checks = [check for one in MACHINE_CHECKS for check in one(machine)]
    checks.append(loss(self_test))
    if recipe is not None:
        checks += [check for one in FITNESS for check in one(recipe, machine)]
    return checks


def works(checks: list[Check]) -> bool:
    """Return whether no check failed, so that a run can work."""
    return not any(check.status == "fail" for check in checks)


def loss(self_test: SelfTest | None) -> Check:
    """Check the loss of the installed trainer against the definition."""
    name = "loss self-test"
    if self_test is None:
        return Check(name, "ok", "skipped", "omit --quick to run it; every run does so at its start")
    try:
        gaps = self_test()
    except GspoLiteError as error:
        return Check(name, "fail", error.message, error.hint or "")
    except Exception as error:  # an installation can break in any way on import
        reason = first_line(error)
        return Check(name, "fail", f"cannot run: {type(error).__name__}: {reason}", "install the tested set")
    return Check(name, "ok", "as defined; relative gaps " + ", ".join(f"{key} {gap:.0e}" for key, gap in gaps.items()))


def lines_of(checks: list[Check], machine: Machine) -> Iterator[str]:
    """Yield the checks as lines for a user."""
    for check in checks:
        yield f"{check.status:5}{check.name:20} {check.found}"
        if check.advice:
            yield f"{'':25} -> {check.advice}"
    failed = sum(check.status == "fail" for check in checks)
    obstacles = f"a run cannot work here: {failed} check{'s' if failed > 1 else ''} failed"
    yield ""
    yield obstacles if failed else "a run can work here"
    yield f"the tested set: {install_line(machine)}"


def as_dict(checks: list[Check], machine: Machine) -> dict[str, Any]:
    """Return the checks as JSON data."""
    return {
        "works": works(checks),
        "checks": [asdict(check) for check in checks],
        "machine": {**asdict(machine), "bf16": machine.bf16},
        "install": install_line(machine),
    }
