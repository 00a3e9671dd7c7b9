"""Every way a recipe can ask for a model to be loaded, through calls recorded by the installed Unsloth's signatures.

The signatures are read from Unsloth's source files; importing them takes a GPU.
"""

import ast
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import GenerationConfig

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.errors import RecipeError
from gspo_lite.models.load import choose_backend, load_model
from gspo_lite.models.starter import build_tokenizer
from gspo_lite.models.weights import bits, torch_dtype
from gspo_lite.recipe.schema import ModelSettings

UNSLOTH = find_spec("unsloth")  # now: a test puts another in its place
FP8 = ["model.backend=auto", "model.load_in_4bit=false", "model.load_in_fp8=true"]
pytestmark = pytest.mark.skipif(UNSLOTH is None, reason="needs Unsloth's source")


def arguments(file, owner, method):
    """Names a method of Unsloth takes, without those it would only pass on."""
    source = Path(UNSLOTH.submodule_search_locations[0], "models", file).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and node.name == owner:
            for one in node.body:
                if isinstance(one, ast.FunctionDef) and one.name == method:
                    return {argument.arg for argument in [*one.args.args, *one.args.kwonlyargs]}
    raise AssertionError(f"no {owner}.{method} in unsloth/models/{file}")


def known(vision):
    """What from_pretrained and get_peft_model take; the loaders pass the rest of theirs on to the model class."""
    inner, file = ("FastBaseModel", "vision.py") if vision else ("FastLlamaModel", "llama.py")
    loader = "FastModel" if vision else "FastLanguageModel"
    load = arguments("loader.py", loader, "from_pretrained") | arguments(file, inner, "from_pretrained")
    return load, arguments(file, inner, "get_peft_model")


class Model(torch.nn.Module):
    """As little of a model as is asked for after loading."""

    def __init__(self):
        super().__init__()
        self.weight, self.dtype = torch.nn.Parameter(torch.zeros(4)), torch.float32
        self.base_model = types.SimpleNamespace()
        self.generation_config = GenerationConfig()

    def num_parameters(self):
        return 8


def recorded(monkeypatch, record, vision=False):
    """An unsloth whose loaders write down their arguments and refuse those that the installed one does not know."""
    load, adapt = known(vision)

    class Fast:
        @staticmethod
        def from_pretrained(model_name, **options):
            assert set(options) <= load, f"unknown to Unsloth: {set(options) - load}"
            record["load"] = options
            return Model(), build_tokenizer()

        @staticmethod
        def get_peft_model(model, **options):
            assert set(options) <= adapt, f"unknown to Unsloth: {set(options) - adapt}"
            record["adapter"] = options
            return model

    fake = types.ModuleType("unsloth")
    fake.FastLanguageModel = fake.FastVisionModel = Fast
    monkeypatch.setitem(sys.modules, "unsloth", fake)
    return record


def loaded(monkeypatch, *, vllm=False, images=False, checkpointing=False, **options):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: images)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    record = recorded(monkeypatch, {}, images)
    settings = ModelSettings(name="some/model", backend="unsloth", **options)
    record["notes"] = load_model(
        settings, "unsloth", seed=7, gradient_checkpointing=checkpointing, vllm=vllm, images=images
    ).notes
    return record


@pytest.mark.parametrize(
    ("options", "width"),
    [
        ({}, "load_in_4bit"),
        ({"load_in_4bit": False, "load_in_8bit": True}, "load_in_8bit"),
        ({"load_in_4bit": False, "load_in_fp8": True}, "load_in_fp8"),
        ({"load_in_4bit": False}, "load_in_16bit"),
        ({"load_in_4bit": False, "full_finetuning": True}, "full_finetuning"),
    ],
    ids=["4-bit", "8-bit", "fp8", "16-bit", "full"],
)
@pytest.mark.parametrize("images", [False, True], ids=["text", "images"])
def test_unsloth_is_told_one_width_of_weights(monkeypatch, options, width, images):
    record = loaded(monkeypatch, images=images, **options)
    names = ("load_in_4bit", "load_in_8bit", "load_in_fp8", "load_in_16bit", "full_finetuning")
    assert [name for name in names if record["load"].get(name)] == [width]
    assert ("load_in_fp8" in record["load"]) is (width == "load_in_fp8")  # the CPU backend refuses it
    assert ("adapter" in record) is not options.get("full_finetuning", False)


def test_unsloth_is_told_length_adapter_seed_and_checkpointing(monkeypatch):
    lora = {"rank": 8, "alpha": 24, "target_modules": ["q_proj", "v_proj"]}
    record = loaded(monkeypatch, checkpointing=True, max_seq_length=300, dtype="float16", lora=lora)
    assert record["load"]["max_seq_length"] == record["adapter"]["max_seq_length"] == 300
    assert record["load"]["dtype"] is torch.float16
    assert record["load"]["random_state"] == record["adapter"]["random_state"] == 7
    assert record["load"]["use_gradient_checkpointing"] == record["adapter"]["use_gradient_checkpointing"] == "unsloth"
    assert (record["adapter"]["r"], record["adapter"]["lora_alpha"]) == (8, 24)
    assert record["adapter"]["target_modules"] == ["q_proj", "v_proj"]
    assert loaded(monkeypatch)["load"]["use_gradient_checkpointing"] is False


def test_vllm_is_told_its_share_and_the_rank_when_the_model_is_loaded(monkeypatch):
    record = loaded(monkeypatch, vllm=True, gpu_memory_utilization=0.4, lora={"rank": 32})["load"]
    assert (record["fast_inference"], record["gpu_memory_utilization"], record["max_lora_rank"]) == (True, 0.4, 32)
    assert "unsloth_vllm_standby" not in record
    assert record["float8_kv_cache"] is False
    assert loaded(monkeypatch, vllm=True, float8_kv_cache=True)["load"]["float8_kv_cache"] is True
    assert loaded(monkeypatch, vllm=True, vllm_standby=True)["load"]["unsloth_vllm_standby"] is True
    assert "max_lora_rank" not in loaded(monkeypatch)["load"]


def test_standby_is_in_the_environment_before_unsloth_is_imported(monkeypatch):
    monkeypatch.setenv("UNSLOTH_VLLM_STANDBY", "0")
    monkeypatch.setattr("gspo_lite.models.load.find_spec", lambda name: None)
    choose_backend(ModelSettings(name="some/model"))
    assert sys.modules["os"].environ["UNSLOTH_VLLM_STANDBY"] == "0"
    choose_backend(ModelSettings(name="some/model", vllm_standby=True))
    assert sys.modules["os"].environ["UNSLOTH_VLLM_STANDBY"] == "1"


@pytest.mark.parametrize(("key", "words"), [("load_in_8bit", "8-bit"), ("load_in_fp8", "8-bit floating point (FP8)")])
def test_8_bits_that_were_not_had_are_said(monkeypatch, key, words):
    notes = loaded(monkeypatch, load_in_4bit=False, **{key: True})["notes"]
    assert notes[-1] == f"{words} weights do not work here: the weights are loaded unquantized"


class Float8Tensor(torch.Tensor):
    """As torchao's, which says that it is of the type it computes with."""


@pytest.mark.parametrize(
    "weight",
    [torch.zeros(4).to(torch.float8_e4m3fn), torch.zeros(4).as_subclass(Float8Tensor)],
    ids=["torch", "torchao"],
)
def test_weights_in_fp8_are_recognised(weight):
    model = Model()
    model.weight = torch.nn.Parameter(weight, requires_grad=False)
    assert bits(model) == "8-bit floating point (FP8)"


def test_a_gpu_that_only_emulates_bfloat16_takes_float16(monkeypatch):
    """As on a T4, where torch answers yes unless emulation is left out."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert torch_dtype("auto") is torch.float16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert torch_dtype("auto") is torch.bfloat16


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"load_in_4bit": False, "load_in_8bit": True}, "transformers with PEFT, 8-bit, 1.0M parameters of which"),
        ({"load_in_4bit": False}, "transformers with PEFT, float32, 1.0M parameters of which 0.16M are trained"),
        ({"load_in_4bit": False, "full_finetuning": True}, "transformers, float32, 0.8M parameters of which all are"),
    ],
    ids=["8-bit", "unquantized", "full"],
)
def test_transformers_loads_every_width(starter, options, says):
    settings = ModelSettings(name="starter", backend="transformers", dtype="float32", **options)
    found = load_model(settings, "transformers")
    assert found.notes[0].startswith(says)
    ids = torch.tensor([[5, 6, 7]])
    found.model(input_ids=ids, labels=ids).loss.backward()
    assert all(p.grad is not None for p in found.model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model.load_in_8bit=true"], r"`model.load_in_8bit`: weights have one width"),
        (["model.full_finetuning=true"], r"`model.full_finetuning`: trains every weight.*Set load_in_4bit to false"),
        (
            ["model.full_finetuning=true", "model.load_in_4bit=false", "model.load_in_8bit=true"],
            "Set load_in_8bit to false",
        ),
        (["model.vllm_standby=true"], "`model.vllm_standby`: is for vLLM inside Unsloth"),
        (["model.float8_kv_cache=true"], "`model.float8_kv_cache`: is for vLLM inside Unsloth"),
        (["model.load_in_fp8=true"], "`model.load_in_fp8`: weights have one width; set it or load_in_4bit to false"),
        (
            ["model.load_in_fp8=true", "model.load_in_4bit=false", "model.full_finetuning=true"],
            "Set load_in_fp8 to false",
        ),
        ([*FP8, "model.backend=transformers"], "`model.load_in_fp8`: needs Unsloth"),
        ([*FP8, "model.dtype=float16"], "`model.load_in_fp8`: multiplies into bfloat16, but model.dtype is `float16`"),
        ([*FP8, "model.adapter=runs/sft"], r"`model.load_in_fp8`: cannot continue model\.adapter"),
        (
            [
                "generation.engine=vllm",
                "model.backend=unsloth",
                "model.load_in_4bit=false",
                "model.full_finetuning=true",
            ],
            "`vllm` inside Unsloth needs an adapter",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(overrides, says):
    with pytest.raises(RecipeError, match=says):
        load_recipe("quickstart", overrides)


def test_vllm_beside_trl_with_quantized_weights_is_warned_about():
    warnings = load_recipe("quickstart", ["generation.engine=vllm"]).warnings
    assert any("`vllm` beside TRL cannot read quantized weights" in one for one in warnings)
