"""benchmarks/gpu_kit without a GPU: its dry parts run, on a pretended card too, so that it cannot rot.

The whole of a call: DRY=1 OUT=/tmp/out bash benchmarks/gpu_kit/call1.sh 900
"""

import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KIT = ROOT / "benchmarks" / "gpu_kit"
PARTS = {
    "check": ["fakecuda.py", str(KIT / "check.py"), "--dry-run"],
    "noise": ["noise.py", "--dry-run"],
    "parity": ["parity.py", "--dry-run"],
}
STEPS = """
BUDGET=60
. {}/common.sh
step 9 wrong false
step 1 slow sleep 9
step 9 right echo RESULT yes
"""
METADATA = """Name: thing
Requires-Dist: dill>=0.3
Requires-Dist: typing_extensions; python_version < "3.13"
Requires-Dist: pywin32; sys_platform == "win32"
Requires-Dist: sphinx; extra == "docs"

Requires-Dist: not-a-header
"""


@pytest.fixture
def kit(monkeypatch):
    monkeypatch.syspath_prepend(str(KIT))
    return import_module


def started(words, folder):
    script, *options = words
    environment = {**os.environ, "UNSLOTH_COMPILE_LOCATION": str(folder), "UNSLOTH_DISABLE_STATISTICS": "1"}
    return subprocess.Popen(
        [sys.executable, str(KIT / script), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd=ROOT, env=environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the dry parts print after RESULT, by part; they run at the same time."""
    if find_spec("unsloth") is None:
        pytest.skip("Unsloth is not installed")
    running = {name: started(words, tmp_path_factory.mktemp(name)) for name, words in PARTS.items()}
    try:
        printed = {name: process.communicate(timeout=500) for name, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
    found = {}
    for name, (text, _) in printed.items():
        assert running[name].returncode == 0, f"{name}: {text[-3000:]}"
        found[name] = [line.removeprefix("RESULT ") for line in text.splitlines() if line.startswith("RESULT ")]
    return found


@pytest.mark.slow
@pytest.mark.unsloth
def test_unsloths_cuda_path_trains_and_speaks_on_a_pretended_card(told):
    *lines, last = told["check"]
    parts = {one["part"]: one for one in map(json.loads, lines)}
    assert last == "kit ok"
    assert "H100" in parts["machine"]["gpu"]
    assert 0.05 < parts["bitsandbytes"]["nf4_error"] < 0.15
    assert "UnslothGRPOTrainer" in parts["unsloth imported"]["trainer"]  # Unsloth's own, not TRL's as on a CPU
    assert "4-bit NF4" in parts["loaded"]["notes"][0]
    assert parts["forward and backward"]["layers"] == 14  # 7 adapters in each of 2 layers
    assert parts["generation"]["shape"] == [2, 16]


@pytest.mark.slow
@pytest.mark.unsloth
def test_the_noise_of_an_unchanged_policy_is_measured(told):
    (line,) = told["noise"]
    found = json.loads(line)["trainer"]
    assert found["n"] == 32
    assert found["low"] <= found["mean"] <= found["high"]


@pytest.mark.slow
@pytest.mark.unsloth
def test_parity_tells_a_right_gradient_from_a_wrong_one(told):
    right, control = map(json.loads, told["parity"])
    assert right["scenario"] == "gspo_token credit"
    assert right["gradient"] < 1e-4 < 0.1 < control["gradient"]
    assert right["as_it_should"] is control["as_it_should"] is True


def test_scripts_name_files_that_are_there():
    named = set()
    for script in KIT.glob("*.sh"):
        text = script.read_text()
        assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
        named |= set(re.findall(r"\$(?:KIT|here)/(\w+\.\w+)", text))
        named |= set(re.findall(r"benchmarks/[\w/]+\.(?:py|sh)", text))
    assert {"check.py", "benchmarks/gpu.py", "pack_wheels.py"} <= named
    assert [name for name in named if not (KIT / name).is_file() and not (ROOT / name).is_file()] == []


def test_a_step_that_fails_ends_no_other_and_is_named(tmp_path):
    (tmp_path / "python3").symlink_to("/bin/true")  # nothing is to be installed
    (tmp_path / "call.sh").write_text(STEPS.format(KIT))
    folders = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path), "OUT": str(tmp_path)}
    done = subprocess.run(
        ["bash", "call.sh"], cwd=tmp_path, env={**os.environ, **folders}, capture_output=True, text=True
    )
    assert done.returncode == 1
    told = re.sub(r"\d+ s\b", "N s", done.stdout).splitlines()
    assert told[:2] == ["== wrong: rc 1, N s", "== slow: rc 124, N s"]
    assert told[2:] == ["== right: rc 0, N s", "RESULT yes", "== in all N s; failed: wrong, slow"]
    with tarfile.open(tmp_path / "kept.tgz") as kept:
        log = kept.extractfile("kept/call/log.txt").read().decode()
    assert log.count("##### ") == 3


@pytest.mark.parametrize("task", ["json", "smol"])
def test_recipes_of_the_real_model_pass_check_on_the_data_that_the_kit_writes(kit, tmp_path, task):
    from gspo_lite import load_recipe
    from gspo_lite.data.sources import load_problems

    smol = kit("smol")
    smol.write_additions(tmp_path)
    smol.write_sentences(tmp_path)
    text = (KIT / f"{task}.yaml").read_text()
    recipe = tmp_path / f"{task}.yaml"
    recipe.write_text(text.replace("/tmp/smol", str(tmp_path)))
    chosen = load_recipe(str(recipe), [], allow_outside=True)
    problems = load_problems(chosen.recipe.data)
    assert len(problems.held_out) == 500
    rows = {json.dumps(row["prompt"]) for row in problems.train}
    assert not rows & {json.dumps(row["prompt"]) for row in problems.held_out}


def test_a_model_is_put_together_only_from_both_right_halves(kit, monkeypatch, tmp_path):
    smol = kit("smol")
    halves = [tmp_path / "part-aa", tmp_path / "part-ab"]
    monkeypatch.setattr(smol, "HALVES", halves)
    packed = gzip.compress(b"weights")
    (tmp_path / "sha256").write_text(hashlib.sha256(b"weights").hexdigest() + "\n")
    halves[0].write_bytes(packed[:9])
    with pytest.raises(SystemExit, match=r"missing on this machine: \['part-ab'\]"):
        smol.assemble(tmp_path / "gguf" / "model.gguf")
    halves[1].write_bytes(packed[9:])
    smol.assemble(tmp_path / "gguf" / "model.gguf")
    assert (tmp_path / "gguf" / "model.gguf").read_bytes() == b"weights"
    (tmp_path / "sha256").write_text("0" * 64)
    with pytest.raises(SystemExit, match="do not make the file"):
        smol.assemble(tmp_path / "gguf" / "model.gguf")


def test_packed_versions_are_the_tested_ones_unless_the_command_line_says_otherwise(kit):
    wheels = kit("pack_wheels")
    tested = json.loads((ROOT / "gspo_lite" / "tested_versions.json").read_text())["usual"]
    packed = {name: version for name, version in wheels.WHEELS.items() if name in tested}
    assert packed == {name: tested[name] for name in ("unsloth", "trl", "bitsandbytes", "datasets")}
    pins = wheels.pins_of(["trl==1.16.0", "ruamel.yaml==0.20", "tomli==2.0"])
    assert (pins["trl"], pins["ruamel-yaml"], pins["tomli"]) == ("1.16.0", "0.20", "2.0")
    assert len(pins) == len(wheels.WHEELS) + 1


def test_the_project_with_its_extra_needs_nothing_that_is_neither_installed_nor_packed(kit):
    wheels = kit("pack_wheels")
    asked = wheels.asked_for_by_the_project()
    assert {"torch", "trl", "unsloth"} < asked
    assert asked - wheels.WHEELS.keys() - set(wheels.INSTALLED.read_text().splitlines()) - wheels.UNUSED == set()


def test_contributing_names_the_dependencies_that_a_bare_machine_lacks(kit):
    wheels = kit("pack_wheels")
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (sentence,) = re.findall(r"they need (.+?), with\swhat these need", text, re.DOTALL)
    assert set(re.findall(r"`([\w-]+)`", sentence)) == wheels.asked_for_by_the_project() & wheels.WHEELS.keys()


def test_a_wheel_is_repacked_without_what_is_left_out(kit, tmp_path):
    wheels = kit("pack_wheels")
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as members:
        members.writestr("thing/__init__.py", "x = 1")
        members.writestr("studio/page.js", "y")
        members.writestr("thing-1.0.dist-info/METADATA", METADATA)
        members.writestr("thing-1.0.dist-info/RECORD", "")
    wheels.repack(wheel, wheels.left_out_of_unsloth)
    with zipfile.ZipFile(wheel) as members:
        assert "studio/page.js" not in members.namelist()
        record = members.read("thing-1.0.dist-info/RECORD").decode()
    assert "thing/__init__.py,sha256=" in record
    assert "studio" not in record
    assert wheels.asked_for(wheel) == {"dill", "typing-extensions"}
