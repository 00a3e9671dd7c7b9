"""The parts of a run's memory: literal figures with their arithmetic, and what autograd and the cache really keep."""

import json
import re
import weakref
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.sizing.families import find_shape, shape_of
from gspo_lite.sizing.memory import (
    GIB,
    LOGIT_BYTES,
    NF4_BYTES,
    STANDBY_MARGIN,
    STANDBY_SHARES,
    Room,
    Sizes,
    predict,
    vllm_share,
)
from gspo_lite.sizing.plan import changed

CARD = Room(24 * GIB, 22 * GIB)
STOCK = Room(24 * GIB, 22 * GIB, backend="transformers")


def sizes(*overrides, room=CARD, name="Qwen3-0.6B"):
    lengths = ["generation.max_prompt_length=512", "generation.max_completion_length=1024"]
    base = [f"model.name={name}", *lengths, "model.gpu_memory_utilization=0.6"]
    recipe = load_recipe("gsm8k_gspo", [*base, *overrides]).recipe
    return Sizes(recipe, find_shape(name), room)


def test_base_weights_in_4_and_16_bits():
    # 28 layers of 1024 x (2048 + 1024 + 1024 + 2048) + 3 x 1024 x 3072 = 15,728,640 linear weights;
    # 151936 x 1024 embeddings; norms: 28 x (2 x 1024 + 2 x 128) + 1024 = 65,536
    linear, rest = 28 * 15_728_640, 155_582_464 + 65_536
    assert sizes("model.load_in_4bit=false").weights() == 2 * (linear + rest)
    assert sizes().weights() == int(linear * NF4_BYTES + 2 * rest)
    assert sizes("model.load_in_4bit=false", "model.load_in_8bit=true").weights() == linear + 2 * rest
    assert sizes("model.load_in_4bit=false", "model.load_in_fp8=true").weights() == linear + 2 * rest
    everything = sizes("model.load_in_4bit=false", "model.full_finetuning=true")
    assert everything.weights() == everything.trained() == 4 * (linear + rest)
    assert "adapter" not in everything.resident()
    assert pytest.approx(0.515869, abs=1e-6) == NF4_BYTES


def test_a_quantized_layer_takes_the_bytes_counted():
    import torch

    functional = pytest.importorskip("bitsandbytes.functional")
    packed, state = functional.quantize_4bit(
        torch.randn(512, 512), blocksize=64, compress_statistics=True, quant_type="nf4"
    )
    scales = state.absmax.nbytes + state.state2.absmax.nbytes  # the two code tables are the same for any size
    assert packed.nbytes + scales == pytest.approx(512 * 512 * NF4_BYTES, rel=1e-3)


def test_adapter_gradients_and_optimizer_state():
    # rank 32 over 28 layers: q 1024+2048, k and v 1024+1024, o 2048+1024, gate and up 1024+3072, down 3072+1024
    adapter = 32 * 28 * (3072 + 2 * 2048 + 3072 + 3 * 4096)
    assert sizes().trained() == 4 * adapter
    assert sizes("training.optim=adamw_torch").optimizer() == 8 * adapter
    assert sizes("training.optim=adamw_8bit").optimizer() == int(adapter * (2 + 2 * 4 / 256))
    assert sizes("training.optim=paged_adamw_8bit").optimizer() == 0
    assert sizes("training.optim=muon").optimizer() == 8 * adapter  # unknown: like AdamW


def test_kv_cache_counts_key_value_heads_and_windows():
    # 28 layers x 2 x 8 heads x 128 x 2 bytes = 114,688 bytes a token
    assert sizes().kv_cache(1, 1000) == 114_688_000
    gemma = sizes(name="gemma-3-1b")
    # 26 layers, every sixth sees all: 4 x 1000 + 22 x 512 tokens, 1 head x 256 x 2 x 2 bytes
    assert gemma.kv_cache(1, 1000) == (4 * 1000 + 22 * 512) * 1024


VLLM = replace(CARD, engine="vllm")


def test_in_standby_vllms_cache_is_not_there_while_the_model_trains():
    asleep, awake = sizes("model.vllm_standby=true", room=VLLM), sizes(room=VLLM)
    assert awake.resident(training=True) == awake.resident()
    assert awake.vllm == int(24 * GIB * 0.6)
    assert asleep.vllm == int(24 * GIB * 0.95 * 0.825)  # Unsloth's own share for a card of 20 to 25 GiB
    assert asleep.resident()["vLLM's share"] == asleep.vllm
    training = asleep.resident(training=True)
    assert "vLLM's share" not in training
    assert training["base weights"] == asleep.weights()
    assert "base weights" not in asleep.resident()
    phases = {phase.name: phase.parts for phase in predict(asleep.recipe, asleep.shape, VLLM)}
    assert {name: "vLLM's share" in parts for name, parts in phases.items()} == {
        "evaluation": True, "generation": True, "inside vLLM's share": False, "training": False, "resume": False
    }  # fmt: skip
    assert "vLLM's share" in sizes("model.vllm_standby=true", room=replace(STOCK, engine="vllm")).resident(
        training=True
    )


def test_standby_shares_are_those_of_the_installed_unsloth():
    zoo = find_spec("unsloth_zoo")
    if zoo is None:
        pytest.skip("needs Unsloth's source")
    source = Path(zoo.submodule_search_locations[0], "vllm_utils.py").read_text(encoding="utf-8")
    newest = source.partition("standby_target_gpu_util = 0.7\n")[2].partition("standby_target_gpu_util *= ")
    found = re.findall(r"ten_percent >= ([\d.]+): standby_target_gpu_util = ([\d.]+)", newest[0])
    assert [(10 * float(tenth), float(share)) for tenth, share in found] == list(STANDBY_SHARES[:-1])
    assert newest[0].rpartition("else: standby_target_gpu_util = ")[2].startswith(str(STANDBY_SHARES[-1][1]))
    assert newest[2].startswith(str(STANDBY_MARGIN))


def test_a_cache_in_8_bit_floating_point_is_half_as_large():
    wide, narrow = (vllm_share(sizes(*more, room=VLLM)).parts for more in ([], ["model.float8_kv_cache=true"]))
    assert wide["KV cache of 8 sequences"] == 2 * narrow["KV cache of 8 sequences"] == 8 * 1536 * 114_688


def test_logits_come_in_pieces_and_are_whole_in_trl_with_images_or_experts():
    assert sizes(room=STOCK).logits() == {"logits, in pieces": 2**25 * 16}
    assert sizes("training.per_device_train_batch_size=16", room=STOCK).logits() == {"logits, in pieces": 2**25 * 16}
    one = sizes("training.per_device_train_batch_size=1", "generation.max_completion_length=128", room=STOCK)
    assert one.logits() == {"logits, in pieces": 128 * 151_936 * 16}
    whole = {"logits, all at once (TRL)": 8 * 1025 * 151_936 * 10}
    assert sizes(room=replace(STOCK, images=True)).logits() == whole
    assert sizes(room=STOCK, name="Qwen3-30B-A3B").logits() == whole
    (name, pieces), *_ = sizes().logits().items()
    assert "Unsloth" in name
    assert pieces == 8 * 1536 * 151_936 * 12 // 4


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_a_piece_of_logits_takes_the_bytes_counted(kind, monkeypatch):
    import torch

    from gspo_lite.training.loss import head

    monkeypatch.setattr(head, "LOGITS_AT_ONCE", 2**18)  # 64 tokens
    output = torch.nn.Linear(8, 4096, bias=False, dtype=getattr(torch, kind)).requires_grad_(False)
    config = SimpleNamespace(vocab_size=4096, get_text_config=lambda: config)
    model = SimpleNamespace(config=config, get_output_embeddings=lambda: output)
    states = torch.randn(512, 8, dtype=output.weight.dtype, requires_grad=True)
    with peak_of_tensors() as sizes:
        head.Head(model, 1.0).scores(states, torch.arange(512))[0].sum().backward()
    assert max(sizes) == pytest.approx(2**18 * LOGIT_BYTES, rel=0.05)


@contextmanager
def peak_of_tensors():
    """The bytes of all tensors that are made and still alive, after each operation."""
    import torch

    alive, sizes = {}, []

    class Noted(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for one in torch.utils._pytree.tree_leaves(result):
                if isinstance(one, torch.Tensor):
                    storage = one.untyped_storage()
                    key = storage._cdata
                    alive[key] = storage.nbytes()
                    weakref.finalize(storage, alive.pop, key, None)
            sizes.append(sum(alive.values()))
            return result

    with Noted():
        yield sizes


def test_unsloth_takes_fewer_rows_where_little_is_free():
    # 16 x rows x 1536 x (1024 + rows / 8 x 151936 / 4) is 7.7 GB for 8 rows, 2.0 GB for 4, 1.2 GB for 3
    assert sizes(room=Room(24 * GIB, 22 * GIB)).rows() == 8
    assert sizes(room=Room(6 * GIB, 5 * GIB)).rows() == 4
    assert sizes(room=Room(6 * GIB, 5 * GIB, backend="transformers")).rows() == 8


def test_a_cpu_computes_in_float32():
    cpu = sizes(room=Room(24 * GIB, 22 * GIB, backend="transformers", gpu=False))
    assert cpu.number == 4
    assert cpu.kv_cache(1, 1000) == 2 * 114_688_000


def test_vllm_holds_the_weights_for_unsloth_and_a_copy_for_trl():
    def parts(backend):
        room = Room(16 * GIB, 15 * GIB, backend=backend, engine="vllm")
        recipe, shape = sizes().recipe, find_shape("Qwen3-0.6B")
        return {phase.name: phase for phase in predict(recipe, shape, room)}

    shared, separate = parts("unsloth"), parts("transformers")
    assert "base weights" not in shared["training"].parts
    assert "base weights" in separate["training"].parts
    assert shared["training"].parts["vLLM's share"] == int(16 * GIB * 0.6)
    assert separate["inside vLLM's share"].parts["weights, a copy in 16 bits"] == 2 * 596_049_920
    assert shared["inside vLLM's share"].limit == int(16 * GIB * 0.6)


def test_images_are_counted_where_prompts_have_them():
    recipe, shape = load_recipe("geometry_vlm").recipe, find_shape("Qwen2.5-VL-3B")
    text, images = (Sizes(recipe, shape, Room(24 * GIB, 22 * GIB, images=seen)) for seen in (False, True))
    assert text.looking() == text.images(8, True) == {}
    patches = 8 * 1024 * 4  # 8 rows, 1024 tokens of a prompt, 2 x 2 patches behind each
    assert images.images(8) == {"images": patches * 3 * 2 * 14 * 14 * 4}
    kept = images.looking()["vision tower, kept of all layers"]
    assert kept == patches * 32 * 1280 * 2  # the input of each of 32 layers
    without = Sizes(changed(recipe, {"training.gradient_checkpointing": False}), shape, images.room).looking()
    assert without["vision tower, kept of all layers"] > 10 * kept


def test_checkpointing_keeps_layer_inputs_only():
    with_it = sizes(room=STOCK).activations()
    tokens = 8 * 1536
    assert with_it["layer inputs"] == 28 * tokens * 1024 * 2
    without = sizes("training.gradient_checkpointing=false", room=STOCK).activations()
    assert without["activations of all layers"] > 10 * sum(with_it.values())


TABLE = ["qwen3", "llama", "gemma3_text", "qwen2"]
MEASURED = ["phi3", "phi", "olmo2", "starcoder2", "cohere", "stablelm", "glm4", "nemotron", "granitemoe"]


@pytest.mark.parametrize("kind", TABLE + MEASURED)
def test_a_layers_activations_are_what_autograd_keeps(kind):
    from transformers import AutoConfig

    fields = {
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": 64,
        "num_hidden_layers": 3,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    fields |= {"head_dim": 64} if kind in TABLE else {}  # the others' follows from what they are
    config = AutoConfig.for_model(kind, **fields)
    kept = saved_bytes(config) - saved_bytes(AutoConfig.for_model(kind, **{**fields, "num_hidden_layers": 2}))
    shape = shape_of(json.loads(config.to_json_string(use_diff=False)), "")
    assert shape.measured == (kind in MEASURED)
    predicted = Sizes(sizes().recipe, shape, CARD).layer_activations()
    assert predicted == pytest.approx(kept / (2 * 64), rel=0.05)  # what is as wide as the rank is left out


def saved_bytes(config):
    """Bytes that autograd keeps of a forward pass of 2 x 64 tokens, weights left out."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")).train()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.randint(0, 64, (2, 64))
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        model(input_ids=ids, attention_mask=mask, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights)


def test_every_change_of_a_recipe_is_checked_as_a_recipe():
    recipe = sizes().recipe
    assert changed(recipe, {"model.lora.rank": 8}).model.lora.rank == 8
    with pytest.raises(ValueError, match="rank"):
        changed(recipe, {"model.lora.rank": 0})
