"""The sizes of a language model, from its configuration alone: no weights, no network.

The families below are counted one matrix at a time as transformers builds them, in no time and without torch, because
what is quantized, what gets an adapter and what stays in 16 bits differ: a 4-bit model keeps embeddings, head, norms,
biases, routers and experts. Every other model is built on the meta device, which takes seconds.

Owns what follows from a configuration; where one is found is in `configs.py`. Must not know recipes or batches.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gspo_lite.errors import UsageError
from gspo_lite.sizing.configs import find_config
from gspo_lite.sizing.shape import Linear, Shape, Tower


@dataclass(frozen=True)
class Family:
    """What the models of one `model_type` have in common."""

    defaults: dict[str, Any]  # of fields that a config.json leaves out where they are those of transformers' class
    norms: int = 2  # RMS norms per layer as wide as the model
    qk_norm: bool = False  # queries and keys are normalised per head
    qkv_bias: bool = False  # query, key and value have a bias
    sparse: bool = False  # every layer has experts
    sees: bool = False  # it has the vision tower of Qwen2.5-VL


GEMMA3 = {"vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
          "tie_word_embeddings": True, "sliding_window": 4096, "sliding_window_pattern": 6}  # fmt: skip
QWEN3_MOE = {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768}
QWEN_VISION = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "patch_size": 14, "temporal_patch_size": 2,
               "spatial_merge_size": 2}  # fmt: skip
FAMILIES = {
    "llama": Family({}),
    "qwen2": Family({}, qkv_bias=True),
    "qwen2_5_vl": Family({}, qkv_bias=True, sees=True),
    "qwen3": Family({"head_dim": 128}, qk_norm=True),
    "qwen3_moe": Family(QWEN3_MOE, qk_norm=True, sparse=True),
    "gemma3_text": Family(GEMMA3, norms=4, qk_norm=True),
}
# Fields that, where set, make a model of these families differ from what is counted here.
UNUSUAL = ("attention_bias", "mlp_bias", "use_sliding_window", "mlp_only_layers")
NEEDED = ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size", "num_attention_heads")
COLOURS = 3


def find_shape(name: str) -> Shape:
    """Return the sizes of the model `name`: a starter, a folder, a model in the hub's cache, or a well-known one.

    Raises:
        UsageError: its kind cannot be counted, or its folder holds no configuration.
        MachineError: its configuration, or a library that builds it, is not on this machine.
    """
    return shape_of(*find_config(name))


def shape_of(config: dict[str, Any], source: str) -> Shape:
    """Return the sizes behind a configuration that was found at `source`."""
    kind = config.get("model_type")
    values = {**config, **(config.get("text_config") or {})}  # older files have both at one level
    unusual = any(values.get(key) for key in UNUSUAL) or values.get("decoder_sparse_step", 1) != 1
    if kind not in FAMILIES or unusual:
        from gspo_lite.sizing.meta_device import count  # it imports torch

        return count(json.dumps(config, sort_keys=True), source)
    if "num_local_experts" in values:  # transformers 5 saves it under this name
        values["num_experts"] = values["num_local_experts"]
    values = FAMILIES[kind].defaults | {key: value for key, value in values.items() if value is not None}
    missing = ", ".join(f"`{key}`" for key in NEEDED if not isinstance(values.get(key), int))
    if missing:
        raise UsageError(f"the configuration ({source}) lacks {missing}")
    return assemble(values, FAMILIES[kind], source)


def assemble(values: dict[str, Any], family: Family, source: str) -> Shape:
    """Count a model from complete values.

    Of each layer autograd keeps the norms' input in float32; for each adapter its own input; queries, keys and values
    repeated for all heads, and what attention makes of them; gate, activated gate and up of the MLP.
    """
    hidden, layers, heads = values["hidden_size"], values["num_hidden_layers"], values["num_attention_heads"]
    head_dim = values.get("head_dim") or hidden // heads
    queries, keys = heads * head_dim, values.get("num_key_value_heads", heads) * head_dim
    linears, mlp = attention(family, hidden, queries, keys, layers), values["intermediate_size"]
    experts, routers, expert_adapter, tower = 0, 0, 0, None
    norms = layers * (family.norms * hidden + (2 * head_dim if family.qk_norm else 0)) + hidden
    if family.sparse:
        mlp = values["moe_intermediate_size"] * values["num_experts_per_tok"]
        experts, routers, expert_adapter = experts_of(values)
    else:
        linears += gated_mlp(hidden, mlp, layers)
    if family.sees:
        tower, seeing, patches = qwen_tower(values)
        linears, norms = linears + seeing, norms + patches
    return Shape(
        source=source, hidden=hidden, layers=layers, query_width=queries, kv_width=keys, mlp_width=mlp,
        kept=5 * (hidden + queries) + 4 * mlp,
        kept_float32=family.norms * hidden + (queries + keys if family.qk_norm else 0),
        cache=tuple((2 * keys, window) for window in windows_of(values)),
        vocab=values["vocab_size"], tied=bool(values.get("tie_word_embeddings")), linears=linears,
        loose=norms + experts + routers + sum(linear.bias * linear.layers for linear in linears),
        experts=experts, expert_adapter=expert_adapter, tower=tower,
    )  # fmt: skip


def attention(family: Family, hidden: int, queries: int, keys: int, layers: int) -> tuple[Linear, ...]:
    """Yield the four projections of attention."""
    widths = {"q_proj": queries, "k_proj": keys, "v_proj": keys}
    inputs = (Linear(name, hidden, width, width * family.qkv_bias, layers) for name, width in widths.items())
    return *inputs, Linear("o_proj", queries, hidden, 0, layers)


def gated_mlp(hidden: int, width: int, layers: int, bias: bool = False) -> tuple[Linear, ...]:
    """Yield the three projections of a gated MLP."""
    sizes = {"gate_proj": (hidden, width), "up_proj": (hidden, width), "down_proj": (width, hidden)}
    return tuple(Linear(name, *size, size[1] * bias, layers) for name, size in sizes.items())


def experts_of(values: dict[str, Any]) -> tuple[int, int, int]:
    """Parameters of all experts, of all routers, and of an adapter on both for each rank.

    Experts are 3-D tensors, which bitsandbytes leaves as they are. PEFT adapts gate and up, one tensor, with twice the
    rank; down; and the router.
    """
    count, width, hidden = values["num_experts"], values["moe_intermediate_size"], values["hidden_size"]
    adapter = count * 2 * (hidden + 2 * width) + count * (width + hidden) + hidden + count
    layers = values["num_hidden_layers"]
    return layers * count * 3 * hidden * width, layers * count * hidden, layers * adapter


def windows_of(values: dict[str, Any]) -> list[int | None]:
    """For each layer the tokens its KV cache keeps at most; every sixth of Gemma 3 keeps all, as others' layers do."""
    step, layers = values.get("sliding_window_pattern", 1), range(1, values["num_hidden_layers"] + 1)
    kinds = values.get("layer_types") or ["sliding_attention" if layer % step else "full_attention" for layer in layers]
    return [values.get("sliding_window") if kind == "sliding_attention" else None for kind in kinds]


def qwen_tower(values: dict[str, Any]) -> tuple[Tower, tuple[Linear, ...], int]:
    """Return the vision tower of Qwen2.5-VL, its linear layers, and its other parameters without biases.

    It has gated MLPs, one layer for queries, keys and values, and a merger of 2 x 2 patches.
    """
    vision = QWEN_VISION | (values.get("vision_config") or {})
    width, hidden, depth = vision["intermediate_size"], vision["hidden_size"], vision["depth"]
    patches = vision["spatial_merge_size"] ** 2
    merged, out = hidden * patches, vision.get("out_hidden_size", values["hidden_size"])
    pixels = COLOURS * vision["temporal_patch_size"] * vision["patch_size"] ** 2
    linears = (
        Linear("qkv", hidden, 3 * hidden, 3 * hidden, depth),
        Linear("proj", hidden, hidden, hidden, depth),
        *gated_mlp(hidden, width, depth, bias=True),
        Linear("0", merged, merged, merged, 1),
        Linear("2", merged, out, out, 1),
    )
    return Tower(hidden, 3 * width, depth, pixels, patches), linears, pixels * hidden + depth * 2 * hidden + hidden
