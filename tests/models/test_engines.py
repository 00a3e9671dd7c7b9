import pytest
import torch

from gspo_lite.errors import MachineError
from gspo_lite.models import engines
from gspo_lite.models.engines import Place, choose_engine, fp8_obstacles, refuse_fp8, unheeded
from gspo_lite.recipe.schema import ModelSettings

FOUR_BIT, WIDE = ModelSettings(name="m"), ModelSettings(name="m", load_in_4bit=False)
INT8 = ModelSettings(name="m", load_in_4bit=False, load_in_8bit=True)
FULL = ModelSettings(name="m", load_in_4bit=False, full_finetuning=True)


@pytest.fixture
def machine(monkeypatch):
    """Sets what this machine seems to have."""

    def has(gpu=True, vllm=True, capability=8, cpu_build=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (capability, 0))
        monkeypatch.setattr(engines, "find_spec", lambda name: object() if vllm else None)
        monkeypatch.setattr(engines, "has_cpu_build", lambda: cpu_build)

    return has


@pytest.mark.parametrize(
    ("settings", "backend", "here", "title"),
    [
        (FOUR_BIT, "unsloth", {}, "vLLM inside Unsloth"),
        (WIDE, "unsloth", {}, "vLLM inside Unsloth"),
        (INT8, "unsloth", {}, "transformers"),
        (FULL, "unsloth", {}, "transformers"),
        (WIDE, "transformers", {}, "vLLM beside TRL"),
        (FULL, "transformers", {}, "vLLM beside TRL"),
        (FOUR_BIT, "transformers", {}, "transformers"),
        (WIDE, "unsloth", {"vllm": False}, "transformers"),
        (WIDE, "unsloth", {"capability": 6}, "transformers"),
        (WIDE, "unsloth", {"gpu": False, "cpu_build": True}, "transformers"),
        (WIDE, "transformers", {"gpu": False, "cpu_build": True}, "vLLM beside TRL"),
        (WIDE, "transformers", {"gpu": False}, "transformers"),
    ],
)
def test_auto_takes_the_first_engine_that_can_run(machine, settings, backend, here, title):
    machine(**here)
    assert choose_engine("auto", settings, backend).title == title
    assert choose_engine("transformers", settings, backend).title == "transformers"


@pytest.mark.parametrize(
    ("settings", "backend", "here", "says"),
    [
        (FOUR_BIT, "unsloth", {"vllm": False}, "vLLM inside Unsloth needs the package vllm"),
        (FOUR_BIT, "unsloth", {"gpu": False}, "vLLM inside Unsloth needs a CUDA GPU"),
        (FOUR_BIT, "transformers", {}, r"vLLM beside TRL needs unquantized weights \(model.load_in_4bit=false\)"),
        (WIDE, "transformers", {"capability": 6}, "vLLM beside TRL needs a GPU of compute capability 7.0"),
        (INT8, "unsloth", {}, r"vLLM inside Unsloth needs weights that are not LLM\.int8 \(model.load_in_8bit=false\)"),
        (FULL, "unsloth", {}, "needs an adapter"),
    ],
)
def test_vllm_that_cannot_run_is_refused_with_what_is_missing(machine, settings, backend, here, says):
    machine(**here)
    with pytest.raises(MachineError, match=says):
        choose_engine("vllm", settings, backend)


@pytest.mark.parametrize("backend", ["unsloth", "transformers"])
def test_prompts_with_images_are_answered_by_transformers(machine, backend):
    machine()
    assert choose_engine("auto", WIDE, backend, images=True).title == "transformers"
    with pytest.raises(MachineError, match=r"does not support prompts with images \(untested\)"):
        choose_engine("vllm", WIDE, backend, images=True)


def test_a_place_can_be_described(machine):
    machine(gpu=False)
    there = Place(gpu=True, capability=7.5, vllm=True)
    assert choose_engine("auto", FOUR_BIT, "unsloth", place=there).title == "vLLM inside Unsloth"
    assert choose_engine("auto", FOUR_BIT, "unsloth").title == "transformers"


def test_only_vllm_inside_unsloth_is_loaded_with_the_model():
    assert [engine.fast_inference for engine in engines.ENGINES] == [True, False, False]


EIGHT, CACHE = (
    ModelSettings(name="m", load_in_4bit=False, load_in_fp8=True),
    ModelSettings(name="m", float8_kv_cache=True),
)


@pytest.mark.parametrize(
    ("settings", "backend", "capability", "missing"),
    [
        (FOUR_BIT, "transformers", None, {}),
        (EIGHT, "transformers", 9.0, {"load_in_fp8": "the backend unsloth"}),
        (EIGHT, "unsloth", None, {"load_in_fp8": "a CUDA GPU"}),
        (EIGHT, "unsloth", 8.6, {"load_in_fp8": "a GPU of compute capability 8.9 or later"}),  # RTX 30
        (EIGHT, "unsloth", 8.9, {}),  # RTX 40, L4
        (CACHE, "unsloth", 7.5, {"float8_kv_cache": "a GPU of compute capability 8.0 or later"}),  # T4
        (CACHE, "unsloth", 8.0, {}),
    ],
)
def test_what_8_bit_floating_point_lacks(settings, backend, capability, missing):
    place = Place(gpu=capability is not None, capability=capability or 0.0, vllm=True)
    assert dict(fp8_obstacles(settings, backend, place)) == missing


def test_8_bit_floating_point_that_cannot_work_is_refused(machine):
    machine(capability=8)
    refuse_fp8(FOUR_BIT, "unsloth")
    refuse_fp8(CACHE, "unsloth")
    with pytest.raises(
        MachineError, match=r"`model\.load_in_fp8` cannot work here: it needs a GPU of compute"
    ) as refused:
        refuse_fp8(EIGHT, "unsloth")
    assert refused.value.hint == "set model.load_in_fp8=false"


def test_keys_that_only_vllm_inside_unsloth_heeds():
    both = ModelSettings(name="m", vllm_standby=True, float8_kv_cache=True)
    assert unheeded(both, fast_inference=False) == ["vllm_standby", "float8_kv_cache"]
    assert unheeded(both, fast_inference=True) == unheeded(FOUR_BIT, fast_inference=False) == []
