"""Sizes from a configuration, against published totals and against the models that transformers builds."""

import json

import pytest

from gspo_lite.errors import MachineError, UsageError
from gspo_lite.models import starter, starter_tools
from gspo_lite.sizing.configs import KNOWN, find_config, plain_name
from gspo_lite.sizing.families import find_shape, shape_of

PUBLISHED = {  # as the model's authors or the hub's safetensors index give them
    "Qwen3-0.6B": 596_049_920,
    "Qwen3-1.7B": 1_720_574_976,
    "Qwen3-4B": 4_022_468_096,
    "Qwen3-8B": 8_190_735_360,
    "Qwen3-14B": 14_768_307_200,
    "Qwen3-30B-A3B": 30_532_122_624,
    "Qwen2.5-0.5B": 494_032_768,
    "Qwen2.5-1.5B": 1_543_714_304,
    "Qwen2.5-3B": 3_085_938_688,
    "Qwen2.5-7B": 7_615_616_512,
    "Llama-3.2-1B": 1_235_814_400,
    "Llama-3.2-3B": 3_212_749_824,
    "Llama-3.1-8B": 8_030_261_248,
    "gemma-3-270m": 268_098_176,
    "gemma-3-1b": 999_885_952,
    "gemma-3-4b": 4_300_079_472,
    "Qwen2.5-VL-3B": 3_754_622_976,
    "Qwen2.5-VL-7B": 8_292_166_656,
    "gpt-oss-20b": 20_914_757_184,
    "SmolLM2-135M": 134_515_008,
}


def test_every_known_model_has_its_published_number_of_parameters():
    assert {name: find_shape(name).parameters for name in json.loads(KNOWN.read_text())} == PUBLISHED


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("unsloth/Qwen3-4B-Base", "qwen3-4b"),
        ("unsloth/Qwen3-4B-Instruct-2507-unsloth-bnb-4bit", "qwen3-4b"),
        ("meta-llama/Llama-3.2-1B-Instruct", "llama-3.2-1b"),
        ("unsloth/Meta-Llama-3.1-8B-bnb-4bit", "llama-3.1-8b"),
        ("google/gemma-3-1b-it", "gemma-3-1b"),
    ],
)
def test_owner_quantization_and_training_stage_do_not_change_a_shape(name, plain):
    assert plain_name(name) == plain


SMALL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 100, "num_experts_per_tok": 2,
}  # fmt: skip
SPARSE = {"num_experts": 4, "moe_intermediate_size": 24}
DEEPSEEK = {"n_routed_experts": 16, "n_group": 2, "topk_group": 1, "moe_intermediate_size": 24, "head_dim": None,
            "num_key_value_heads": 4, "first_k_dense_replace": 1}  # fmt: skip
MODELS = [
    # in the table
    ("llama", {"tie_word_embeddings": False}),
    ("qwen2", {}),
    ("qwen3", {"tie_word_embeddings": True}),
    ("qwen3_moe", SPARSE),
    ("gemma3_text", {}),
    # built on the meta device, where the configuration is unusual or the kind is not in the table
    ("llama", {"attention_bias": True, "mlp_bias": True}),
    ("qwen3_moe", SPARSE | {"decoder_sparse_step": 2}),
    ("qwen3_moe", SPARSE | {"mlp_only_layers": [0]}),
    ("mistral", {}),
    ("mixtral", {"num_local_experts": 4}),
    ("granite", {}),
    ("smollm3", {"pad_token_id": 0}),
    ("gemma2", {}),
    ("gpt_oss", {"num_local_experts": 4}),
    ("phi3", {"pad_token_id": 0}),
    ("phi", {}),
    ("olmo2", {}),
    ("starcoder2", {}),
    ("cohere", {}),
    ("stablelm", {"head_dim": None}),
    ("falcon", {"head_dim": None}),
    ("gpt_neox", {}),
    ("glm4", {"pad_token_id": 0}),
    ("granitemoe", {"num_local_experts": 4}),
    ("olmoe", {"num_experts": 4, "head_dim": None}),
    ("qwen2_moe", SPARSE),
    ("phimoe", {"num_local_experts": 4}),
    ("deepseek_v3", DEEPSEEK),
    ("gpt2", {"n_embd": 32, "n_layer": 3, "n_head": 4, "pad_token_id": 0}),
    ("opt", {"word_embed_proj_dim": 32, "ffn_dim": 48, "pad_token_id": 0}),
    ("bloom", {"n_layer": 3, "n_head": 4}),
    ("lfm2", {"layer_types": ["conv", "full_attention", "conv"]}),
]


@pytest.mark.parametrize(("kind", "fields"), MODELS, ids=lambda value: value if isinstance(value, str) else "")
def test_counts_equal_those_of_the_model_that_transformers_builds(kind, fields):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    given = {key: value for key, value in (SMALL | fields).items() if value is not None}
    config = AutoConfig.for_model(kind, **given)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shape = shape_of(json.loads(config.to_json_string(use_diff=False)), "a test")
    linear = [m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear | Conv1D) and name != "lm_head"]
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert shape.quantizable == sum(module.weight.numel() for module in linear)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert shape.lora_parameters(4, "all-linear") == adapted.num_parameters(only_trainable=True)


EYES = {
    "qwen2_5_vl": {"depth": 2, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2, "out_hidden_size": 32},
    "gemma3": {"num_hidden_layers": 2, "hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 2,
               "image_size": 56, "patch_size": 14, "vision_use_head": False},
}  # fmt: skip


@pytest.mark.parametrize("kind", EYES)
@pytest.mark.parametrize("flat", [False, True], ids=["nested", "text fields at the top"])
def test_a_vision_tower_is_counted_as_transformers_builds_it(kind, flat):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForImageTextToText

    text = {key: value for key, value in SMALL.items() if key != "num_experts_per_tok"}
    text |= {"head_dim": 8} if kind == "qwen2_5_vl" else {}  # 32 wide with 4 heads
    options = {"mm_tokens_per_image": 4} if kind == "gemma3" else {}
    config = AutoConfig.for_model(kind, text_config=text, vision_config=EYES[kind], **options)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    told = json.loads(config.to_json_string(use_diff=False))
    if flat:  # as the hub's files of Qwen2.5-VL are
        told = {**told, **told.pop("text_config"), "model_type": kind}
    shape = shape_of(told, "a test")
    linear = [m for name, m in model.named_modules() if type(m) is torch.nn.Linear and name != "lm_head"]
    assert shape.parameters == model.num_parameters()
    assert shape.quantizable == sum(module.weight.numel() for module in linear)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert shape.lora_parameters(4, "all-linear") == adapted.num_parameters(only_trainable=True)


def test_fields_that_a_config_leaves_out_have_the_defaults_of_its_class():
    from transformers import AutoConfig

    bare = {"model_type": "gemma3_text", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 7}
    config = AutoConfig.for_model(**bare)
    assert shape_of(bare, "") == shape_of(json.loads(config.to_json_string(use_diff=False)), "")
    assert windows(bare) == [4096, 4096, 4096, 4096, 4096, None, 4096]


def windows(config):
    return [most for _, most in shape_of(config, "").cache]


def test_windows_by_family():
    base = {**SMALL, "sliding_window": 8}
    assert windows({**base, "model_type": "mistral"}) == [8, 8, 8]
    assert windows({**base, "model_type": "qwen3"}) == [None, None, None]
    late = {**base, "model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 1}
    assert windows(late) == [None, 8, 8]
    assert windows({**base, "model_type": "gemma3_text", "sliding_window_pattern": 2}) == [8, None, 8]
    told = {
        **base,
        "model_type": "gemma3_text",
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
    }
    assert windows(told) == [None, 8, None]


def test_named_targets_get_the_adapter():
    shape = shape_of({**SMALL, "model_type": "qwen3"}, "")
    # 3 layers: q 32 -> 64 and v 32 -> 32, rank 2
    assert shape.lora_parameters(2, ["q_proj", "v_proj"]) == 3 * 2 * ((32 + 64) + (32 + 32))


def test_the_starter_is_counted_as_it_is_built(starter):
    built = json.loads((starter / "config.json").read_text())
    assert shape_of(built, "") == shape_of(find_config("starter")[0], "")


@pytest.mark.parametrize("one", [starter, starter_tools])
def test_a_starter_has_as_many_tokens_as_its_tokenizer(one):
    assert find_config(one.NAME)[0]["vocab_size"] == len(one.build_tokenizer())


def test_a_folder_and_the_hub_cache_come_before_the_table(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "config.json").write_text(json.dumps({**SMALL, "model_type": "llama"}))
    assert find_shape(str(tmp_path)).source == f"config.json in {tmp_path}"
    snapshot = tmp_path / "hub" / "models--unsloth--Qwen3-4B-Base" / "snapshots" / "abc"
    assert "table of well-known models" in find_shape("unsloth/Qwen3-4B-Base").source
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("abc")
    (snapshot / "config.json").write_text(json.dumps({**SMALL, "model_type": "qwen3"}))
    found = find_shape("unsloth/Qwen3-4B-Base")
    assert (found.hidden, found.source) == (32, "config.json in the Hugging Face cache")


def test_what_cannot_be_counted_is_said(tmp_path):
    with pytest.raises(MachineError, match="well-known models\nhint: fetch it with `hf download some/one"):
        find_shape("some/one")
    with pytest.raises(UsageError, match="model_type `rwkv` is not one that `plan` can count: it keeps no keys"):
        shape_of({**SMALL, "model_type": "rwkv"}, "")
    with pytest.raises(UsageError, match="lacks `hidden_size`"):
        shape_of({"model_type": "llama", "vocab_size": 5}, "a test")
    with pytest.raises(UsageError, match=r"config\.json` cannot be read"):
        find_shape(str(tmp_path))
