"""Threads spin briefly, unless the user has said how they shall wait or torch is there already."""

import os
import subprocess
import sys

import pytest

from gspo_lite.system.waiting import CHOICES, SPINS

SHOW = "import gspo_lite, os; print(os.environ.get('GOMP_SPINCOUNT'))"
LOADED = "import sys, types; sys.modules['torch'] = types.ModuleType('torch'); "


@pytest.mark.parametrize(
    ("code", "said", "count"),
    [
        (SHOW, {}, SPINS),
        (SHOW, {"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
        (SHOW, {"GOMP_SPINCOUNT": "1000"}, "1000"),
        (SHOW, {"KMP_BLOCKTIME": "200"}, "None"),
        (LOADED + SHOW, {}, "None"),
    ],
)
def test_threads_spin_briefly_unless_the_user_decides_or_it_is_too_late(code, said, count):
    known = {name: value for name, value in os.environ.items() if name not in CHOICES}
    shown = subprocess.run([sys.executable, "-c", code], env=known | said, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == count
