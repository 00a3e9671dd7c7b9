"""Folds adapters and 4-bit weights into plain weights while completions are sampled.

One matrix product then replaces a dequantization, three products and an addition in every adapted layer for every
token. In float32 the folded weight differs from the sum of its parts only by rounding, about 1e-7, so the sampling
distribution is the same. Where log-probs of the sampler serve as old ones, the difference is part of
`gspo/sampler_gap`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

LARGEST = 2**29  # bytes of all folded weights together; beyond that, memory matters more


@contextmanager
def dense_for_sampling(model: Any) -> Iterator[int]:
    """Fold the adapters of `model` while completions are sampled; yield the number of folded layers.

    No layer is folded where that would be inexact or slower: on a GPU, below float32, with dropout, DoRA or several
    active adapters, and beyond `LARGEST`.
    """
    layers = [layer for layer in model.modules() if can_fold(layer)]
    if 4 * sum(layer.in_features * layer.out_features for layer in layers) > LARGEST:
        layers = []
    try:
        for layer in layers:
            layer.forward = partial(linear, *folded(layer))
        yield len(layers)
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def can_fold(layer: Any) -> bool:
    """Return whether this is a linear layer on the CPU with one LoRA adapter that adds one float32 matrix to it."""
    from peft.tuners.lora import LoraLayer
    from torch import float32, nn

    if not isinstance(layer, LoraLayer) or "forward" in vars(layer):  # someone else's forward, or folded already
        return False
    if not isinstance(layer.get_base_layer(), nn.Linear):
        return False
    active = layer.active_adapters
    if len(active) != 1 or layer.disable_adapters or layer.merged or active[0] not in layer.lora_A:
        return False
    name, weight = active[0], layer.get_base_layer().weight
    digits = getattr(getattr(weight, "quant_state", None), "dtype", weight.dtype)
    plain = isinstance(layer.lora_dropout[name], nn.Identity) and not layer.use_dora.get(name, False)
    plain = plain and not layer.lora_bias.get(name, False) and name not in layer.lora_variant
    return plain and weight.device.type == "cpu" and digits == layer.lora_A[name].weight.dtype == float32


def folded(layer: Any) -> tuple[Any, Any]:
    """Return weight (out, in), and bias (out,) or None, that are equivalent to the layer with its adapter."""
    from peft.utils.integrations import dequantize_module_weight

    base = layer.get_base_layer()
    return dequantize_module_weight(base) + layer.get_delta_weight(layer.active_adapters[0]), base.bias


def linear(weight: Any, bias: Any, x: Any, *_: Any, **__: Any) -> Any:
    """Compute the forward pass of a folded layer."""
    from torch.nn.functional import linear as product

    return product(x, weight, bias)
