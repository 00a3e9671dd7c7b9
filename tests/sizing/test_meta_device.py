"""Sizes of models built on the meta device: as the table counts them, and as real models of other kinds have them."""

import json
from dataclasses import replace

import pytest

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.errors import MachineError, UsageError
from gspo_lite.sizing.families import FAMILIES, find_shape, shape_of
from gspo_lite.sizing.memory import GIB, Room, Sizes
from gspo_lite.sizing.meta_device import count
from gspo_lite.sizing.plan import lines_of, plan

WIDE = {
    "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 3, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 100, "num_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 288,
}  # fmt: skip
SEEN = {"depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2, "out_hidden_size": 256,
        "spatial_merge_size": 3}  # fmt: skip


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_table_and_the_meta_device_agree(kind):
    config = {**WIDE, "model_type": kind} | ({"sliding_window": 8} if kind == "gemma3_text" else {})
    if FAMILIES[kind].sees:
        text = {**WIDE, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 128}
        text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [16, 24, 24]}
        config = {"model_type": kind, "text_config": text, "vision_config": SEEN}
    table, measured = shape_of(config, "here"), count(json.dumps(config), "here")
    assert not table.measured
    assert set(measured.linears) == set(table.linears)
    kept = 4 * table.kept_float32 + 2 * table.kept
    within = 0.12 if FAMILIES[kind].sparse else 0.05  # the table leaves out the tokens sorted by expert
    assert 4 * measured.kept_float32 + 2 * measured.kept == pytest.approx(kept, rel=within)
    same = {"linears": table.linears, "kept": table.kept, "kept_float32": table.kept_float32, "measured": False}
    assert replace(measured, **same) == table


SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 100, "num_experts_per_tok": 2,
         "num_local_experts": 4, "pad_token_id": 0, "sliding_window": 8}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "parameters", "adapter", "cached"),
    [  # of rows that the table once had: all parameters, an adapter of rank 4, and the cache of 20 tokens
        ("mistral", 38880, 6720, 1536),
        ("mixtral", 80736, 20400, 1536),
        ("granite", 38880, 6720, 3840),
        ("smollm3", 35680, 6720, 3840),
        ("gemma2", 35872, 6720, 2304),
        ("gpt_oss", 82776, 3840, 2304),
        ("gemma3", 60288, 9280, 1536),
    ],
)
def test_kinds_that_left_the_table_are_counted_as_before(kind, parameters, adapter, cached):
    vision = {"num_hidden_layers": 2, "hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 2,
              "image_size": 56, "patch_size": 14, "vision_use_head": False}  # fmt: skip
    seeing = {"text_config": SMALL, "vision_config": vision, "mm_tokens_per_image": 4}
    config = {**(seeing if kind == "gemma3" else SMALL), "model_type": kind}
    if kind in ("granite", "smollm3"):
        del config["sliding_window"]
    shape = shape_of(config, "")
    assert (shape.parameters, shape.lora_parameters(4, "all-linear")) == (parameters, adapter)
    assert sum(values * min(most or 20, 20) for values, most in shape.cache) == cached
    assert shape.query_width == 64
    if kind == "gemma3":  # 3 x 14 x 14 values, 4 x 4 patches behind 4 tokens
        tower = shape.tower
        assert (tower.hidden, tower.mlp_width, tower.depth, tower.pixels, tower.patches) == (24, 80, 2, 588, 4)


def test_layers_that_hold_their_weights_the_other_way_round_are_counted_alike():
    shape = shape_of({"model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 100}, "")
    sizes = [(linear.name, linear.inputs, linear.outputs, linear.bias, linear.layers) for linear in shape.linears]
    assert sizes == [("c_attn", 32, 96, 96, 3), ("c_proj", 32, 32, 32, 3), ("c_fc", 32, 128, 128, 3),
                     ("c_proj", 128, 32, 32, 3)]  # fmt: skip
    assert (shape.query_width, shape.kv_width, shape.mlp_width, shape.tied) == (32, 32, 128, True)


CACHED = [
    ("phi3", {}),
    ("falcon", {"multi_query": True, "head_dim": None}),  # one head of keys, whatever num_key_value_heads says
    # it caches what keys and values are made of
    ("minicpm3", {"q_lora_rank": 16, "kv_lora_rank": 8, "num_key_value_heads": 4, "head_dim": None}),
    ("gemma4_text", {"global_head_dim": 32, "hidden_size_per_layer_input": 0}),  # wider in some layers
    ("qwen3_next", {"layer_types": ["linear_attention", "full_attention", "linear_attention"], "head_dim": 16,
                    "linear_num_value_heads": 2, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
                    "linear_value_head_dim": 8, "num_experts": 4, "moe_intermediate_size": 24,
                    "shared_expert_intermediate_size": 24}),  # two layers with a state that never grows
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields"), CACHED, ids=lambda value: value if isinstance(value, str) else "")
def test_the_kv_cache_takes_the_bytes_counted(kind, fields):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    small = {**SMALL, "head_dim": 8, "sliding_window": 64, "pad_token_id": 0}
    given = {key: value for key, value in (small | fields).items() if value is not None}
    config = AutoConfig.for_model(kind, **given)
    shape = shape_of(json.loads(config.to_json_string(use_diff=False)), "")
    recipe = load_recipe("gsm8k_gspo").recipe
    model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    kept = model(torch.randint(1, 99, (2, 9)), use_cache=True).past_key_values
    tensors = [one for layer in kept.layers for one in tensors_of(layer)]
    assert Sizes(recipe, shape, Room(GIB, GIB)).kv_cache(2, 9) == sum(tensor.nbytes for tensor in tensors)


def tensors_of(layer):
    states = [one for name in ("conv_states", "recurrent_states") for one in getattr(layer, name, {}).values()]
    return [one for one in (getattr(layer, "keys", None), getattr(layer, "values", None), *states) if one is not None]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "bert"}, "`bert` is not one that `plan` can count: it keeps no keys and values"),
        ({"model_type": "t5"}, "`t5` is not .*: transformers has no language model of this kind"),
        ({"model_type": "vit"}, "`vit` is not .*: transformers has no language model of this kind"),
        ({"model_type": "made_up"}, r"`made_up` is not .*: transformers [0-9.]+ does not know it"),
        ({"model_type": "phi3", "hidden_size": "wide"}, "`phi3` is not .*: "),
        ({}, "`None` is not .*: transformers [0-9.]+ does not know it"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(config, reason):
    with pytest.raises(UsageError, match=reason):
        shape_of(config, "")


def test_a_library_that_is_missing_is_the_machines_lack(monkeypatch):
    def missing(*args, **options):
        raise ImportError("it needs timm")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_config", missing)
    with pytest.raises(MachineError, match="`phi` is not one that `plan` can count: it needs timm"):
        count(json.dumps({"model_type": "phi", "missing": 1}), "")


def test_a_models_own_code_is_never_run_and_plan_says_how_it_counted(tmp_path):
    own = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    config = {
        **SMALL,
        "model_type": "phi3",
        "auto_map": own,
        "quantization_config": {"quant_method": "gptq", "bits": 4},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text("raise SystemExit('it ran')")
    overrides = [f"model.name={tmp_path}", "model.trust_remote_code=true"]
    found = plan(load_recipe("gsm8k_gspo", overrides).recipe, Room(24 * GIB, 22 * GIB))
    # 2 x 100 x 32 of embedding and head; 3 layers of qkv 32 x 128, o 64 x 32, gate_up 32 x 96, down 48 x 32, 2 norms
    assert found.shape.parameters == 2 * 3200 + 3 * (4096 + 2048 + 3072 + 1536 + 64) + 32
    assert found.shape.lora_parameters(2, ["qkv_proj", "gate_up_proj"]) == 3 * 2 * ((32 + 128) + (32 + 96))
    said = "note       counted by building it on torch's meta device; its activations are approximate"
    assert said in list(lines_of(found))
    known = plan(load_recipe("gsm8k_gspo").recipe, found.room)
    assert said not in list(lines_of(known))


def test_asking_again_builds_nothing(monkeypatch):
    first = find_shape("gpt-oss-20b")
    monkeypatch.setattr("gspo_lite.sizing.meta_device.build", None)
    assert find_shape("gpt-oss-20b") is first
