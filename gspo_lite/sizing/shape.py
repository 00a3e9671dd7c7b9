"""The sizes of a language model, as `families.py` and `meta_device.py` count them and `memory.py` uses them.

Owns the words. Must not know where the figures come from.
"""

from __future__ import annotations

from dataclasses import dataclass

# For each layer the values it caches for one token, and for how many tokens at most; None for all.
Cache = tuple[tuple[int, int | None], ...]


@dataclass(frozen=True)
class Linear:
    """One kind of linear layer: its last name, sizes, number of bias values and how many layers have it."""

    name: str
    inputs: int
    outputs: int
    bias: int
    layers: int


@dataclass(frozen=True)
class Tower:
    """A vision tower with its projector."""

    hidden: int
    mlp_width: int  # all that is kept of its MLP for one patch
    depth: int
    pixels: int  # values of one patch
    patches: int  # behind one token of the prompt


@dataclass(frozen=True)
class Shape:
    """The sizes of a model; widths and kept values are those of one token."""

    source: str  # where the configuration was found, in words
    hidden: int
    layers: int
    query_width: int  # of all query heads together
    kv_width: int  # of all key heads together, and of all value heads
    mlp_width: int  # with experts, of all that work on the token
    kept: int  # values that autograd keeps of one layer, with frozen weights and adapters on all layers
    kept_float32: int  # values that it keeps besides, in float32 whatever the model's type
    cache: Cache
    vocab: int
    tied: bool  # the output head is the embedding
    linears: tuple[Linear, ...]  # the vision tower's among them
    loose: int  # parameters outside: norms, biases, routers, experts, patches; never quantized
    experts: int  # how many of them are experts
    expert_adapter: int  # parameters for each rank of an adapter on experts and routers
    tower: Tower | None = None  # of a vision-language model
    measured: bool = False  # on the meta device

    @property
    def quantizable(self) -> int:
        """Parameters that 4-bit loading quantizes."""
        return sum(linear.inputs * linear.outputs * linear.layers for linear in self.linears)

    @property
    def parameters(self) -> int:
        """All parameters: the embedding, the head where it is not tied, and the layers."""
        return self.vocab * self.hidden * (1 if self.tied else 2) + self.quantizable + self.loose

    def lora_parameters(self, rank: int, targets: str | list[str]) -> int:
        """Parameters of an adapter: rank x (inputs + outputs) for each linear layer that gets one."""
        chosen = [linear for linear in self.linears if targets == "all-linear" or linear.name in targets]
        per_rank = sum((linear.inputs + linear.outputs) * linear.layers for linear in chosen)
        return rank * (per_rank + (self.expert_adapter if targets == "all-linear" else 0))
