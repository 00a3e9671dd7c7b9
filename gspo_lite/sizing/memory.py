"""Peak memory of a run by phase and part, predicted from the sizes of the model and the settings of the recipe.

Every figure is for the worst case the recipe allows: all prompts and completions at their limits. The counts of
weights, adapter, optimizer and KV cache are exact; activations and logits are counted from what autograd keeps, and
what the driver and the libraries take is an allowance.

Owns the formulas. Must not know files, machines or what to do about a figure.
"""

from __future__ import annotations

from dataclasses import dataclass

from gspo_lite.recipe.schema import Recipe
from gspo_lite.sizing.shape import Shape
from gspo_lite.system.memory import LOGITS_AT_ONCE

GIB = 2**30
# NF4, doubly quantized (QLoRA, arXiv 2305.14314): 4 bits, one byte per block of 64 and one float32 per 256 blocks.
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
GPU_ALLOWANCE = int(0.8 * GIB)  # CUDA context, cuBLAS workspaces and compiled kernels; an allowance, not measured here
CPU_ALLOWANCE = int(1.2 * GIB)  # Python and the libraries; quickstart peaks at 1.3 GB with a model of 3 MB
CUDA_GRAPHS = int(0.7 * GIB)  # vLLM captures them outside of its share; an allowance, not measured here
# The share that Unsloth 2026.10.9 gives vLLM in standby, whatever gpu_memory_utilization says, by the card's least GiB.
STANDBY_SHARES = ((40, 0.925), (25, 0.9), (20, 0.825), (14, 0.8), (10, 0.775), (0, 0.75))
STANDBY_MARGIN = 0.95  # of that share
# Bytes of state per trained parameter, by transformers' name; 8-bit states have a float32 scale per block of 256.
BLOCK_SCALE = 4 / 256
OPTIMIZER_BYTES = {
    "adamw_torch": 8.0, "adamw_torch_fused": 8.0, "adamw_anyprecision": 8.0, "adamw_bnb_8bit": 2 + 2 * BLOCK_SCALE,
    "adamw_8bit": 2 + 2 * BLOCK_SCALE, "paged_adamw_32bit": 0.0, "paged_adamw_8bit": 0.0, "paged_adamw": 0.0,
    "lion_32bit": 4.0, "lion_8bit": 1 + BLOCK_SCALE, "paged_lion_32bit": 0.0, "paged_lion_8bit": 0.0,
    "rmsprop": 4.0, "adagrad": 4.0, "adafactor": 0.1, "sgd": 0.0,
}  # fmt: skip
DEFAULT_OPTIMIZER_BYTES = 8.0
LOGIT_BYTES = 16  # of each logit of a piece: four float32 tensors at the peak, on the way there and back, as measured


@dataclass(frozen=True)
class Room:
    """Where a run takes place.

    Attributes:
        total: memory of the card, in bytes, which vLLM's share is a share of; of the machine without a GPU.
        usable: what a run may take of it.
        backend: `unsloth` or `transformers`.
        engine: `vllm` or `transformers`.
        gpu: False for a CPU, where all numbers are float32 unless the recipe says otherwise.
        images: prompts have images.
    """

    total: int
    usable: int
    backend: str = "unsloth"
    engine: str = "transformers"
    gpu: bool = True
    images: bool = False


@dataclass(frozen=True)
class Phase:
    """One phase of a run and the memory it takes, in bytes by part; `limit` is what there is for it."""

    name: str
    parts: dict[str, int]
    limit: int

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return sum(self.parts.values())

    @property
    def over(self) -> int:
        """Bytes above the limit; 0 if the phase fits."""
        return max(0, self.total - self.limit)


@dataclass(frozen=True)
class Sizes:
    """A recipe, a model and a room, with the formulas over them."""

    recipe: Recipe
    shape: Shape
    room: Room

    @property
    def number(self) -> int:
        """Bytes of one unquantized weight, activation or cached value."""
        wide = self.recipe.model.dtype == "float32" or (self.recipe.model.dtype == "auto" and not self.room.gpu)
        return 4 if wide else 2

    @property
    def width(self) -> int:
        """Tokens of a sequence, prompt and completion."""
        return self.recipe.generation.max_prompt_length + self.recipe.generation.max_completion_length

    @property
    def vllm(self) -> int:
        """vLLM's share of the card."""
        share = self.recipe.model.gpu_memory_utilization
        if self.standby:
            share = STANDBY_MARGIN * next(share for least, share in STANDBY_SHARES if self.room.total >= least * GIB)
        return int(self.room.total * share) if self.room.engine == "vllm" else 0

    @property
    def standby(self) -> bool:
        """Whether vLLM's cache leaves the card while the model trains; the weights, which both use, stay."""
        return self.recipe.model.vllm_standby and (self.room.backend, self.room.engine) == ("unsloth", "vllm")

    def weights(self) -> int:
        """Return bytes of the base model: linear weights in 4 or 8 bits if asked for, all others in 16 (or 32)."""
        shape, model = self.shape, self.recipe.model
        if model.full_finetuning:
            return 4 * shape.parameters
        rest = shape.parameters - shape.quantizable
        linear = NF4_BYTES if model.load_in_4bit else 1.0 if model.narrow else self.number
        return int(shape.quantizable * linear + rest * self.number)

    def trained(self) -> int:
        """Return bytes of the trained weights in float32: the adapter, or every weight."""
        settings = self.recipe.model.lora
        if self.recipe.model.full_finetuning:
            return 4 * self.shape.parameters
        return 4 * self.shape.lora_parameters(settings.rank, settings.target_modules)

    def optimizer(self) -> int:
        """Return bytes of the optimizer's state; paged optimizers keep it in the machine's memory."""
        per_parameter = OPTIMIZER_BYTES.get(self.recipe.training.optim, DEFAULT_OPTIMIZER_BYTES)
        return int(self.trained() / 4 * per_parameter)

    def rows(self) -> int:
        """Sequences that go through the model at a time in training.

        TRL takes the micro-batch as it is. Unsloth takes as many rows as by its own estimate, 16 bytes for each
        hidden value and for each logit of a quarter of the rows, fit into 80 percent of what is free.
        """
        batch = self.recipe.training.per_device_train_batch_size
        if self.room.backend != "unsloth" or not self.room.gpu:
            return batch
        free = 0.8 * (self.room.usable - sum(self.resident(training=True).values()))
        for rows in range(batch, 0, -1):
            logits = rows / batch * self.shape.vocab / self.chunks()
            if 16 * rows * self.width * (self.shape.hidden + logits) <= free:
                return rows
        return min(4, batch)

    def chunks(self) -> int:
        """Pieces that Unsloth cuts the logits of its rows into."""
        return max(4, self.width // 4096)

    def layer_activations(self) -> int:
        """Return bytes that autograd keeps of one layer per token, with frozen weights and adapters on all layers."""
        return 4 * self.shape.kept_float32 + self.number * self.shape.kept

    def activations(self) -> dict[str, int]:
        """Return bytes that the backward pass needs of all layers, plus the work space of one layer."""
        shape, tokens, b = self.shape, self.rows() * self.width, self.number
        gradients = tokens * b * (2 * shape.mlp_width + 2 * shape.hidden)
        layer = tokens * self.layer_activations()
        if not self.recipe.training.gradient_checkpointing:
            return {"activations of all layers": layer * shape.layers + gradients}
        offloaded = self.room.backend == "unsloth" and self.room.gpu
        kept = min(2, shape.layers) if offloaded else shape.layers
        inputs = "layer inputs (the rest is offloaded)" if offloaded else "layer inputs"
        return {inputs: kept * tokens * shape.hidden * b, "one layer, computed again": layer + gradients}

    def logits(self) -> dict[str, int]:
        """Logits and their gradients: in pieces, but whole with images or a router's loss on the TRL path."""
        completion, rows, vocab = self.recipe.generation.max_completion_length, self.rows(), self.shape.vocab
        if self.room.backend == "unsloth" and self.room.gpu:
            share = rows / self.recipe.training.per_device_train_batch_size / self.chunks()
            return {"logits, in pieces (Unsloth)": int(share * rows * self.width * vocab * 12)}
        if self.room.images or self.shape.experts:
            # float32 and its gradient, and the gradient in 16 bits where that is the model's type
            return {"logits, all at once (TRL)": rows * (completion + 1) * vocab * (10 if self.number == 2 else 8)}
        return {"logits, in pieces": min(rows * completion * vocab, LOGITS_AT_ONCE) * LOGIT_BYTES}

    def kv_cache(self, sequences: int, tokens: int, number: int | None = None) -> int:
        """Keys and values of all layers; a layer with a sliding window keeps no more than the window.

        Args:
            number: bytes of a value; those of the model's type if left out.
        """
        kept = sum(values * (tokens if window is None else min(tokens, window)) for values, window in self.shape.cache)
        return sequences * kept * (number or self.number)

    def decoding(self, sequences: int) -> dict[str, int]:
        """Return bytes at the last token of the longest completions: full caches, one layer repeated for all heads."""
        shape, b = self.shape, self.number
        copied = sequences * self.width * b * (2 * shape.kv_width + 2 * shape.query_width)
        return {
            f"KV cache of {sequences} sequences": self.kv_cache(sequences, self.width),
            "one layer's cache, copied": copied,
            "logits of the next token": sequences * shape.vocab * (8 + b),
        }

    def prefill(self, sequences: int) -> dict[str, int]:
        """Return bytes while the prompts are processed, with one layer at work."""
        shape, b, tokens = self.shape, self.number, self.recipe.generation.max_prompt_length
        working = 8 * shape.hidden + b * (2 * shape.hidden + 4 * shape.query_width + 3 * shape.mlp_width)
        return {
            f"KV cache of {sequences} prompts": self.kv_cache(sequences, tokens),
            "one layer over all prompts": sequences * tokens * working,
        }

    def images(self, sequences: int, tower_works: bool = False) -> dict[str, int]:
        """Return bytes of the images of so many prompts that are images throughout, with one layer at work."""
        tower = self.shape.tower if self.room.images else None
        if tower is None:
            return {}
        patches = sequences * self.recipe.generation.max_prompt_length * tower.patches
        working = 8 * tower.hidden + self.number * (6 * tower.hidden + tower.mlp_width)
        parts = {"images": patches * tower.pixels * 4}
        return parts | ({"one layer of the vision tower": patches * working} if tower_works else {})

    def looking(self) -> dict[str, int]:
        """Images in training, and what the backward pass needs of the tower; its layers work when no other does."""
        tower, rows = self.shape.tower, self.rows()
        if tower is None or not self.room.images:
            return {}
        kept = self.number * tower.hidden
        if not self.recipe.training.gradient_checkpointing:
            kept += 8 * tower.hidden + self.number * (9 * tower.hidden + 2 * tower.mlp_width)
        patches = rows * self.recipe.generation.max_prompt_length * tower.patches
        return self.images(rows) | {"vision tower, kept of all layers": patches * kept * tower.depth}

    def resident(self, *, training: bool = False) -> dict[str, int]:
        """Return the parts that are present in every phase after the first step.

        Args:
            training: whether nothing is sampled, so that in standby only the weights are left of vLLM's share.
        """
        asleep = self.standby and training
        parts = {} if asleep or not self.vllm else {"vLLM's share": self.vllm}
        parts |= {"vLLM's CUDA graphs": CUDA_GRAPHS} if self.vllm else {}
        if asleep or not (self.vllm and self.room.backend == "unsloth"):  # which trains on the weights in vLLM's share
            parts["base weights"] = self.weights()
        if not self.recipe.model.full_finetuning:
            parts["adapter"] = self.trained()
        parts["optimizer state"] = self.optimizer()
        parts["driver and libraries" if self.room.gpu else "Python and libraries"] = (
            GPU_ALLOWANCE if self.room.gpu else CPU_ALLOWANCE
        )
        return parts


def predict(recipe: Recipe, shape: Shape, room: Room) -> list[Phase]:
    """Return the phases of a run with the memory of each."""
    sizes = Sizes(recipe, shape, room)
    training = (
        sizes.resident(training=True) | {"gradients of what is trained": sizes.trained()} | sizes.activations()
        | sizes.logits() | sizes.looking()
    )  # fmt: skip
    sampled = recipe.training.rollout_size * recipe.generation.sample_factor
    phases = [generation(sizes, "generation", sampled), Phase("training", training, room.usable)]
    if room.engine == "vllm":  # the trained model itself answers the held-out problems, whatever samples rollouts
        phases.insert(1, vllm_share(sizes))
    phases.insert(0, generation(sizes, "evaluation", recipe.data.eval.batch_size, own=True))
    resume = sizes.resident(training=True) | {"weights, read from the checkpoint": sizes.trained()}
    return [*phases, Phase("resume", resume, room.usable)]


def generation(sizes: Sizes, name: str, sequences: int, *, own: bool = False) -> Phase:
    """Sampling so many completions at a time, by vLLM or (`own`) by the model in training."""
    if sizes.vllm and not own:
        return Phase(name, sizes.resident(), sizes.room.usable)
    images = sizes.images(sequences)
    stages = (sizes.images(sequences, True), sizes.prefill(sequences) | images, sizes.decoding(sequences) | images)
    work = max(stages, key=lambda parts: sum(parts.values()))
    return Phase(name, sizes.resident() | work, sizes.room.usable)


def vllm_share(sizes: Sizes) -> Phase:
    """Return the least that vLLM must hold in its share: its weights and the cache of one group."""
    shape, group = sizes.shape, sizes.recipe.generation.num_generations
    own_copy = sizes.room.backend != "unsloth"
    weights = shape.parameters * sizes.number if own_copy else sizes.weights()
    parts = {"weights, a copy in 16 bits" if own_copy else "base weights": weights}
    cached = 1 if sizes.recipe.model.float8_kv_cache else None
    parts[f"KV cache of {group} sequences"] = sizes.kv_cache(group, sizes.width, cached)
    return Phase("inside vLLM's share", parts, sizes.vllm)
