"""The eyes of a vision-language model, counted as transformers builds them: linear layers, the rest, and patches.

Owns what is a vision tower's own; the language model behind it is in `shapes.py`. Must not know recipes or batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Linear:
    """One kind of linear layer: its last name, sizes, number of bias values and how many layers have it."""

    name: str
    inputs: int
    outputs: int
    bias: int
    layers: int

    @property
    def weights(self) -> int:
        """Elements of all its weight matrices, which 4-bit loading quantizes."""
        return self.inputs * self.outputs * self.layers


@dataclass(frozen=True)
class Tower:
    """A vision tower with its projector.

    Attributes:
        linears: its linear layers.
        loose: parameters outside linear weights: patch embedding, positions, norms, biases.
        hidden: its width.
        mlp_width: width of its MLP, all that is kept of it for one patch.
        depth: its layers.
        pixels: values of one patch.
        patches: patches behind one token of the prompt.
    """

    linears: tuple[Linear, ...]
    loose: int
    hidden: int
    mlp_width: int
    depth: int
    pixels: int
    patches: int


QWEN_VISION = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "patch_size": 14, "temporal_patch_size": 2,
               "spatial_merge_size": 2}  # fmt: skip
SIGLIP = {"num_hidden_layers": 27, "hidden_size": 1152, "intermediate_size": 4304, "patch_size": 14, "image_size": 896}
COLOURS = 3


def qwen_tower(config: dict[str, Any], text: dict[str, Any]) -> Tower:
    """Qwen2.5-VL: gated MLPs, one layer for queries, keys and values, and a merger of 2 x 2 patches."""
    values = QWEN_VISION | (config.get("vision_config") or {})
    width, hidden, depth = values["intermediate_size"], values["hidden_size"], values["depth"]
    patches = values["spatial_merge_size"] ** 2
    merged, out = hidden * patches, values.get("out_hidden_size", text["hidden_size"])
    pixels = COLOURS * values["temporal_patch_size"] * values["patch_size"] ** 2
    linears = (
        Linear("qkv", hidden, 3 * hidden, 3 * hidden, depth),
        Linear("proj", hidden, hidden, hidden, depth),
        Linear("gate_proj", hidden, width, width, depth),
        Linear("up_proj", hidden, width, width, depth),
        Linear("down_proj", width, hidden, hidden, depth),
        Linear("0", merged, merged, merged, 1),
        Linear("2", merged, out, out, 1),
    )
    loose = pixels * hidden + depth * 2 * hidden + hidden
    return Tower(linears, loose + biases(linears), hidden, 3 * width, depth, pixels, patches)


def siglip_tower(config: dict[str, Any], text: dict[str, Any]) -> Tower:
    """Gemma 3: SigLIP with learned positions, and a projection that pools the image to a fixed number of tokens."""
    values = SIGLIP | (config.get("vision_config") or {})
    width, hidden, depth = values["intermediate_size"], values["hidden_size"], values["num_hidden_layers"]
    positions = (values["image_size"] // values["patch_size"]) ** 2
    pixels = COLOURS * values["patch_size"] ** 2
    linears = (
        *(Linear(name, hidden, hidden, hidden, depth) for name in ("q_proj", "k_proj", "v_proj", "out_proj")),
        Linear("fc1", hidden, width, width, depth),
        Linear("fc2", width, hidden, hidden, depth),
    )
    embedding = (pixels + 1 + positions) * hidden
    norms = depth * 4 * hidden + 2 * hidden
    projector = hidden * text["hidden_size"] + hidden
    patches = positions // config.get("mm_tokens_per_image", 256)
    loose = embedding + norms + projector + biases(linears)
    return Tower(linears, loose, hidden, 2 * width, depth, pixels, max(patches, 1))


def biases(linears: tuple[Linear, ...]) -> int:
    """Bias values of all layers."""
    return sum(linear.bias * linear.layers for linear in linears)


# The kind of a whole configuration -> the kind of its language model, and what counts its tower.
SEEING: dict[str, tuple[str, Callable[[dict[str, Any], dict[str, Any]], Tower]]] = {
    "gemma3": ("gemma3_text", siglip_tower),
    "qwen2_5_vl": ("qwen2", qwen_tower),
}
