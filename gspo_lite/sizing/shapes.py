"""The sizes of a language model, from its configuration alone: no weights, no network, no torch.

Parameters are counted one matrix at a time as transformers builds them, because what is quantized, what gets an
adapter and what stays in 16 bits differ: a 4-bit model keeps embeddings, head, norms, biases, routers and experts.

Owns what follows from a configuration; where one is found is in `configs.py`. Must not know recipes or batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gspo_lite.errors import UsageError
from gspo_lite.sizing.configs import find_config
from gspo_lite.sizing.vision import SEEING, Linear, Tower, biases


@dataclass(frozen=True)
class Family:
    """What the models of one `model_type` have in common.

    Attributes:
        defaults: values of fields that a config.json leaves out where they are the default of transformers' class.
        norms: RMS norms per layer as wide as the model.
        qk_norm: queries and keys are normalised per head.
        qkv_bias: query, key and value have a bias whatever the configuration says.
        windows: which layers see a sliding window where `layer_types` is absent: `all`, `alternate` (first of two),
            `five_of_six`, `late` (from `max_window_layers` on, if `use_sliding_window`) or `none`.
        experts: the key of the number of experts, and of the width of one; None for a dense model.
        expert_adapters: `all-linear` adapts experts and routers too, as PEFT does for some kinds.
    """

    defaults: dict[str, Any]
    norms: int = 2
    qk_norm: bool = False
    qkv_bias: bool = False
    windows: str = "none"
    experts: tuple[str, str] | None = None
    expert_adapters: bool = False


GEMMA = {"vocab_size": 256000, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
         "tie_word_embeddings": True, "sliding_window": 4096}  # fmt: skip
GPT_OSS = {"vocab_size": 201088, "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 36,
           "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "num_local_experts": 128,
           "num_experts_per_tok": 4, "sliding_window": 128, "attention_bias": True}  # fmt: skip
QWEN3_MOE = {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768}
FAMILIES = {
    "llama": Family({}),
    "mistral": Family({"num_key_value_heads": 8, "sliding_window": 4096}, windows="all"),
    "mixtral": Family(
        {"num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
        windows="all", experts=("num_local_experts", "intermediate_size"), expert_adapters=True,
    ),
    "granite": Family({}),
    "smollm3": Family({"num_key_value_heads": 4, "tie_word_embeddings": True}),
    "qwen2": Family({"sliding_window": 4096}, qkv_bias=True, windows="late"),
    "qwen3": Family({"head_dim": 128, "sliding_window": 4096}, qk_norm=True, windows="late"),
    "qwen3_moe": Family(
        QWEN3_MOE, qk_norm=True, experts=("num_experts", "moe_intermediate_size"), expert_adapters=True,
    ),
    "gemma2": Family(GEMMA, norms=4, windows="alternate"),
    "gemma3_text": Family(GEMMA | {"vocab_size": 262208}, norms=4, qk_norm=True, windows="five_of_six"),
    "gpt_oss": Family(GPT_OSS, windows="alternate", experts=("num_local_experts", "intermediate_size")),
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """The sizes of a model.

    Attributes:
        source: where the configuration was found, in words.
        mlp_width: width of the MLP as one token sees it; of all the experts that work on it.
        tied: the output head is the embedding.
        linears: the linear layers, the vision tower's among them.
        norms: wide norms per layer.
        loose: parameters outside linear weights: norms, biases, routers, experts, patches. Never quantized.
        experts: how many of them are experts.
        expert_adapter: parameters for each rank of an adapter on experts and routers.
        windows: for each layer how many tokens its KV cache keeps at most; None for all.
        tower: the vision tower of a model that sees.
    """

    source: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    vocab: int
    tied: bool
    qk_norm: bool
    norms: int
    linears: tuple[Linear, ...]
    loose: int
    experts: int
    expert_adapter: int
    windows: tuple[int | None, ...]
    tower: Tower | None = None

    @property
    def query_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def embeddings(self) -> int:
        """Parameters of the embedding, and of the head where it is not tied."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def quantizable(self) -> int:
        """Parameters that 4-bit loading quantizes."""
        return sum(linear.weights for linear in self.linears)

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.embeddings + self.quantizable + self.loose

    def lora_parameters(self, rank: int, targets: str | list[str]) -> int:
        """Parameters of an adapter: rank x (inputs + outputs) for each linear layer that gets one."""
        chosen = [linear for linear in self.linears if targets == "all-linear" or linear.name in targets]
        per_rank = sum((linear.inputs + linear.outputs) * linear.layers for linear in chosen)
        return rank * (per_rank + (self.expert_adapter if targets == "all-linear" else 0))


def find_shape(name: str) -> Shape:
    """The sizes of the model `name`: `starter`, a folder, a model in the Hugging Face cache, or a well-known one.

    Raises:
        UsageError: its kind is unknown, or its folder holds no configuration.
        MachineError: its configuration is not on this machine.
    """
    config, source = find_config(name)
    return shape_of(config, source)


def shape_of(config: dict[str, Any], source: str) -> Shape:
    """The sizes behind a configuration."""
    kind, count_tower, whole = config.get("model_type"), None, config
    if kind in SEEING:
        kind, count_tower = SEEING[kind]
        config = config | (config.get("text_config") or {})  # older files have both at one level
    if "num_local_experts" in config and kind == "qwen3_moe":  # transformers 5 saves it under this name
        config = {**config, "num_experts": config["num_local_experts"]}
    if kind not in FAMILIES:
        raise UsageError(
            f"model_type `{kind}` is not one that `plan` can count", f"it knows {', '.join((*FAMILIES, *SEEING))}"
        )
    family = FAMILIES[kind]
    values = family.defaults | {key: value for key, value in config.items() if value is not None}
    missing = [key for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size",
                               "num_attention_heads") if not isinstance(values.get(key), int)]  # fmt: skip
    if missing:
        raise UsageError(f"the configuration ({source}) lacks {', '.join(f'`{key}`' for key in missing)}")
    return assemble({**values, "model_type": kind}, family, source, count_tower and count_tower(whole, values))


def assemble(values: dict[str, Any], family: Family, source: str, tower: Tower | None) -> Shape:
    """Count a model from complete values."""
    hidden, layers, heads = values["hidden_size"], values["num_hidden_layers"], values["num_attention_heads"]
    kv_heads = values.get("num_key_value_heads", heads)
    head_dim = values.get("head_dim") or hidden // heads
    linears = (*attention(values, family, heads * head_dim, kv_heads * head_dim), *dense_mlp(values, family))
    experts, routers = experts_of(values, family)
    norms = layers * (family.norms * hidden + (2 * head_dim if family.qk_norm else 0)) + hidden
    sinks = layers * heads if values["model_type"] == "gpt_oss" else 0
    width = values["intermediate_size"]
    if family.experts:
        width = values[family.experts[1]] * values["num_experts_per_tok"]
    return Shape(
        source=source, hidden=hidden, layers=layers, heads=heads, kv_heads=kv_heads, head_dim=head_dim,
        mlp_width=width, vocab=values["vocab_size"], tied=bool(values.get("tie_word_embeddings", False)),
        qk_norm=family.qk_norm, norms=family.norms, linears=(*linears, *(tower.linears if tower else ())),
        experts=experts, expert_adapter=expert_adapter_of(values, family),
        loose=norms + sinks + experts + routers + biases(linears) + (tower.loose if tower else 0),
        windows=tuple(windows_of(values, family)), tower=tower,
    )  # fmt: skip


def attention(values: dict[str, Any], family: Family, queries: int, keys: int) -> Iterator[Linear]:
    """The four projections of attention."""
    hidden, layers = values["hidden_size"], values["num_hidden_layers"]
    bias = bool(values.get("attention_bias", False))
    for name, width in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys)):
        yield Linear(name, hidden, width, width if bias or family.qkv_bias else 0, layers)
    yield Linear("o_proj", queries, hidden, hidden if bias else 0, layers)


def dense_mlp(values: dict[str, Any], family: Family) -> Iterator[Linear]:
    """The gated MLP of the layers without experts."""
    layers = values["num_hidden_layers"] - sparse_layers(values, family)
    hidden, width, bias = values["hidden_size"], values["intermediate_size"], bool(values.get("mlp_bias", False))
    if layers:
        yield Linear("gate_proj", hidden, width, width if bias else 0, layers)
        yield Linear("up_proj", hidden, width, width if bias else 0, layers)
        yield Linear("down_proj", width, hidden, hidden if bias else 0, layers)


def sparse_layers(values: dict[str, Any], family: Family) -> int:
    """How many layers have experts."""
    if not family.experts:
        return 0
    step, dense = values.get("decoder_sparse_step", 1), values.get("mlp_only_layers") or []
    return sum(layer not in dense and (layer + 1) % step == 0 for layer in range(values["num_hidden_layers"]))


def experts_of(values: dict[str, Any], family: Family) -> tuple[int, int]:
    """Parameters of all experts and of all routers. Experts are 3-D tensors, which bitsandbytes leaves as they are."""
    if not family.experts:
        return 0, 0
    count, width, hidden = values[family.experts[0]], values[family.experts[1]], values["hidden_size"]
    layers, biased = sparse_layers(values, family), values["model_type"] == "gpt_oss"
    expert = 3 * hidden * width + (2 * width + hidden if biased else 0)
    return layers * count * expert, layers * count * (hidden + (1 if biased else 0))


def expert_adapter_of(values: dict[str, Any], family: Family) -> int:
    """Adapter parameters for each rank: gate and up, one tensor with twice the rank; down; the router."""
    if not (family.experts and family.expert_adapters):
        return 0
    count, width, hidden = values[family.experts[0]], values[family.experts[1]], values["hidden_size"]
    layer = count * 2 * (hidden + 2 * width) + count * (width + hidden) + hidden + count
    return sparse_layers(values, family) * layer


def windows_of(values: dict[str, Any], family: Family) -> Iterator[int | None]:
    """For each layer the tokens its KV cache keeps at most."""
    kinds, window = values.get("layer_types"), values.get("sliding_window")
    if family.windows == "late" and not values.get("use_sliding_window"):
        kinds, window = None, None
    pattern = {"all": 0, "alternate": 2, "five_of_six": values.get("sliding_window_pattern", 6)}.get(family.windows)
    for layer in range(values["num_hidden_layers"]):
        if kinds:
            yield window if kinds[layer] == "sliding_attention" else None
        elif family.windows == "late":
            yield window if layer >= values.get("max_window_layers", 28) else None
        else:
            yield window if pattern is not None and (pattern == 0 or (layer + 1) % pattern) else None
