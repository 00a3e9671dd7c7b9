import json
import time

import pytest

from gspo_lite.system.clock import Clock


def test_seconds_of_phases_survive_a_kill_and_add_up(tmp_path):
    path = tmp_path / "environment.json"
    path.write_text('{"started": "today"}')
    first, second = Clock(), Clock()
    first.add({"load": 2.0})
    first.keep_in(path)
    with first("evaluate before"):
        time.sleep(0.2)
    kept = json.loads(path.read_text())
    assert kept == {"started": "today", "seconds": {"load": 2.0, "evaluate before": pytest.approx(0.2, abs=0.11)}}
    second.add({"load": 3.0})
    second.add(kept["seconds"])
    assert second.seconds["load"] == 5.0
