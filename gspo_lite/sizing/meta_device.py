"""The sizes of a model that transformers builds without weights: torch's meta device has shapes and no data.

Its layers are counted, and one token and then two go through it, which shows what its cache and what autograd keep of
a token. No code that comes with a model is run. Must not know recipes or batches.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from gspo_lite.errors import MachineError, UsageError, first_line
from gspo_lite.sizing.shape import Cache, Linear, Shape, Tower

# Fields of a vision tower that say how many patches a side become one token of the prompt; two where there is none.
SIDES = ("spatial_merge_size", "downsample_factor", "scale_factor", "pooling_kernel_size")


@cache
def count(told: str, source: str) -> Shape:
    """Return the sizes of the model behind a configuration, which is given as JSON.

    Raises:
        UsageError: transformers builds no decoder with a cache from it.
        MachineError: a library that the model needs is not installed.
    """
    config = json.loads(told)
    try:
        return measure(build(config), source)
    except Exception as error:  # whatever a class of transformers raises on values that it cannot work with
        gist = first_line(error)
        kind = MachineError if isinstance(error, ImportError) else UsageError
        raise kind(
            f"model_type `{config.get('model_type')}` is not one that `plan` can count: {gist}",
            "`plan` counts decoders that transformers builds and that cache keys and values",
        ) from error


def build(config: dict[str, Any]) -> Any:
    """Build the model without weights, with its vision tower if it has one."""
    import torch
    import transformers as library

    if config.get("model_type") not in library.CONFIG_MAPPING:
        raise ValueError(f"transformers {library.__version__} does not know it")
    made = library.CONFIG_MAPPING[config["model_type"]].from_dict(config)
    for loader in (library.AutoModelForImageTextToText, library.AutoModelForCausalLM):
        if type(made) in loader._model_mapping:
            options = {"attn_implementation": "eager", "dtype": torch.bfloat16, "trust_remote_code": False}
            with torch.device("meta"):
                return loader.from_config(made, **options)
    raise ValueError("transformers has no language model of this kind")


def measure(model: Any, source: str) -> Shape:
    """Measure a model on the meta device."""
    config, decoder, head = model.config.get_text_config(), model.get_decoder(), model.get_output_embeddings()
    hidden, layers, embedding = config.hidden_size, config.num_hidden_layers, model.get_input_embeddings().weight
    total = sum(parameter.numel() for parameter in model.parameters())
    text, vision = linears_of(decoder, {head}), linears_of(model, {head, *decoder.modules()})
    linears = tuple(replace(linear, layers=number) for (linear, _), number in (text + vision).items())
    config.pad_token_id = None  # some models look for it among the tokens
    model.eval().requires_grad_(False)
    model.enable_input_require_grads()
    (cached, one), (_, two) = forward(model, 1), forward(model, 2)
    grown = two - one  # what does not grow with the tokens is none of theirs
    experts, active = experts_of(decoder, config)
    adapter = expert_adapter_of(model, linears) if experts else 0
    ends = [(attends, linear.inputs) for linear, attends in text if linear.outputs == hidden]
    queries = max((width for attends, width in ends if attends), default=hidden)
    mlp = max([active, *(width for attends, width in ends if not attends)])
    inputs = sum(linear.inputs * number for (linear, _), number in text.items()) // layers
    shape = Shape(
        source=source, hidden=hidden, layers=layers, query_width=queries, mlp_width=mlp, cache=cached,
        kv_width=max((values for values, most in cached if most != 1), default=0) // 2,
        # Each adapter keeps its own input; attention its output, which only the fused kernels of a run do.
        kept=grown[False] // 2 // layers + inputs + (2 * hidden + mlp if adapter else 0) + queries,
        kept_float32=grown[True] // 4 // layers, vocab=len(embedding), tied=head is None or head.weight is embedding,
        linears=linears, loose=0, experts=experts, expert_adapter=adapter, tower=tower_of(model, vision), measured=True,
    )  # fmt: skip
    return replace(shape, loose=total - shape.parameters)


def linears_of(model: Any, left_out: set[Any]) -> Counter[tuple[Linear, bool]]:
    """Count the linear layers of each kind, and say whether it belongs to attention, without excluded modules."""
    import torch
    from transformers.pytorch_utils import Conv1D

    found: Counter[tuple[Linear, bool]] = Counter()
    for path, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module not in left_out:
            inputs, outputs = module.weight.shape if isinstance(module, Conv1D) else reversed(module.weight.shape)
            bias = 0 if module.bias is None else outputs
            found[Linear(path.rpartition(".")[2], inputs, outputs, bias, 1), "att" in path] += 1
    return found


def forward(model: Any, tokens: int) -> tuple[Cache, Counter[bool]]:
    """Send tokens through the decoder; return its cache, and bytes that autograd keeps by whether in float32."""
    import torch

    kept: dict[int, Any] = {}
    sizes: Counter[bool] = Counter()

    def keep(tensor: Any) -> Any:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        ids = torch.zeros(1, tokens, dtype=torch.long, device="meta")
        output = model.get_decoder()(input_ids=ids, use_cache=True)
    layers: list[Any] = next((one.layers for one in output.values() if hasattr(one, "layers")), [])
    if all(getattr(layer, "keys", None) is None for layer in layers):
        raise ValueError("it keeps no keys and values of the tokens so far")
    weights = {one.untyped_storage()._cdata for one in (*model.parameters(), *model.buffers())}
    for tensor in (tensor for place, tensor in kept.items() if place not in weights):
        sizes[tensor.dtype == torch.float32] += tensor.untyped_storage().nbytes()
    return tuple(entries(layers)), sizes


def entries(layers: list[Any]) -> Iterator[tuple[int, int | None]]:
    """Entries of `Shape.cache` after one token; the state of linear attention, which never grows, is as one token's."""
    for layer in layers:
        if getattr(layer, "keys", None) is not None:
            yield layer.keys.numel() + layer.values.numel(), getattr(layer, "sliding_window", None)
        states = [*getattr(layer, "conv_states", {}).values(), *getattr(layer, "recurrent_states", {}).values()]
        if states:
            yield sum(state.nbytes for state in states if state is not None) // 2, 1


def experts_of(decoder: Any, config: Any) -> tuple[int, int]:
    """Parameters of all experts, which are tensors of three dimensions, and the width of those that see one token."""
    named = [module for path, module in decoder.named_modules() if path.endswith("experts")]
    banks = [bank for module in named for bank in module.parameters(recurse=False)]
    width = min((bank[0].numel() for bank in banks if bank.ndim == 3), default=0) // config.hidden_size
    return sum(bank.numel() for bank in banks), width * (getattr(config, "num_experts_per_tok", None) or 1)


def expert_adapter_of(model: Any, linears: tuple[Linear, ...]) -> int:
    """Parameters for each rank that PEFT's `all-linear` adds to those of the linear layers."""
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(r=1, target_modules="all-linear", task_type="CAUSAL_LM"))
    trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    return trained - sum((linear.inputs + linear.outputs) * linear.layers for linear in linears)


def tower_of(model: Any, found: Counter[tuple[Linear, bool]]) -> Tower | None:
    """Return the vision tower behind the linear layers outside the decoder."""
    from torch import nn

    vision = getattr(model.config, "vision_config", None)
    if vision is None or not found:
        return None
    depth = getattr(vision, "num_hidden_layers", None) or vision.depth
    repeated = [key for key, number in found.items() if number >= depth]
    width = sum(max(linear.inputs, linear.outputs) for linear, attends in repeated if not attends)
    patch = next((module.weight[0] for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Conv3d))), None)
    pixels = next(iter(found))[0].inputs if patch is None else patch.numel()
    sides = [getattr(place, name) for place in (vision, model.config) for name in SIDES if hasattr(place, name)]
    patches = (sides or [2])[0] ** 2
    if pooled := getattr(model.config, "mm_tokens_per_image", None):
        patches = max(1, (vision.image_size // vision.patch_size) ** 2 // pooled)
    return Tower(repeated[0][0].inputs, width, depth, pixels, patches)
