"""Samples through plain weights: adapters folded in, 4-bit weights written out, for as long as completions are drawn.

One matrix product then takes the place of a dequantization, three products and an addition in every adapted layer and
for every token. In float32 the folded weight differs from the sum of its parts by rounding, about 1e-7: what is sampled
has the same distribution. No log-prob of training is computed this way, so no ratio sees the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

LARGEST = 2**29  # bytes of all written-out weights together; beyond it memory matters more


@contextmanager
def dense_for_sampling(model: Any) -> Iterator[int]:
    """Fold the adapters of `model` while completions are sampled; how many layers were folded.

    None are where it would not be exact or not pay: on a GPU, in fewer digits than float32, with dropout, DoRA or
    several adapters at once, and beyond `LARGEST`.
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
    """Whether this is a linear layer on the CPU with one LoRA adapter that changes it by one float32 matrix."""
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
    """Weight (out, in) and bias (out,) or None that answer as the layer with its adapter does."""
    from peft.utils.integrations import dequantize_module_weight

    base = layer.get_base_layer()
    return dequantize_module_weight(base) + layer.get_delta_weight(layer.active_adapters[0]), base.bias


def linear(weight: Any, bias: Any, x: Any, *_: Any, **__: Any) -> Any:
    """The forward pass of a folded layer."""
    from torch.nn.functional import linear as product

    return product(x, weight, bias)
