"""GSPO-token on Unsloth's patched trainer: one more level in its loss, and advantages aligned with its packing.

Rows without an advantage are left out, and so is the backward pass of a micro-batch whose rows are all clipped. Unsloth
computes the gradient for the log-probs in the forward pass; that for the weights is what is saved.

Unsloth generates a module with a trainer; its loss `grpo_compute_loss` turns the level into log importance weights in
an if-chain. `install` adds the level `sequence_token` to the syntax tree of the installed function, in memory; none of
Unsloth's code is copied and none of its files is changed. The self-test then compares the function with
`objective.py`. Owns all changes to Unsloth. Must not define a loss.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import linecache
import sys
import textwrap
from types import ModuleType
from typing import Any, NamedTuple

import torch

from gspo_lite.errors import MachineError
from gspo_lite.models.kinds import tokenizer_of
from gspo_lite.training.loss.backward import without_idle_backward
from gspo_lite.training.loss.rollout import CLIPS, LOWEST_CLIP, OTHER_CLIPS, nothing
from gspo_lite.training.loss.rows import LEFT_OUT, LOSS_SCALE, ROW_SHARE, TOKEN_SHARE, Batch, RowRules, kept_rows, lean
from gspo_lite.training.loss.stock import LEVEL
from gspo_lite.training.watch.gauges import RatioGauges

LOSSES = ("grpo_compute_loss", "grpo_compute_loss_slow")
WEIGHTS = "log_importance_weights"
UNTOUCHED = {"pixel_values", "pixel_values_videos", "unsloth_sample_weight"}  # a batch with one of these stays whole


class Heard(NamedTuple):
    """What a listener gets of the losses that are computed: their log-probs (B, W), and ratios with masks."""

    logps: list[torch.Tensor]
    ratios: list[tuple[torch.Tensor, torch.Tensor]]


LISTENERS: list[Heard] = []


class UnslothTokenLoss:
    """Mixin in front of Unsloth's trainer that leaves out rows without an advantage and packs advantages (B, T)."""

    gauges: RatioGauges
    row_rules: RowRules | None = None
    # of the trainer
    args: Any
    aux_loss_enabled: bool
    importance_sampling_level: str
    _entropy_bonus_enabled: bool
    _metrics: Any

    def compute_loss(self, model: Any, inputs: Batch, *args: Any, **kwargs: Any) -> torch.Tensor:
        rules, batch = self.row_rules, inputs
        if rules is not None and rules.drop and model.training and not UNTOUCHED & inputs.keys():
            batch = active_rows(inputs, rules)
            self.gauges.leave_out(*batch[LEFT_OUT])
            if not len(batch["completion_ids"]):
                return nothing(model, self._metrics["train"], self.args.loss_type)
        loss = self._heard_loss(model, batch, *args, **kwargs)
        if batch is not inputs:
            self._correct_metrics(batch, inputs)
        return loss

    def _heard_loss(self, model: Any, inputs: Batch, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return Unsloth's loss and record its ratios in the gauges."""
        if inputs["advantages"].dim() == 2:
            pad = tokenizer_of(self.processing_class).pad_token_id  # type: ignore[attr-defined]
            inputs = {**inputs, "advantages": packed_advantages(inputs, pad)}
        heard = Heard([], [])
        LISTENERS.append(heard)
        try:
            loss: torch.Tensor = super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]
        finally:
            LISTENERS.remove(heard)
        for ratio, mask in heard.ratios:
            self.gauges.record(ratio.log(), mask, inputs["advantages"])
        return without_idle_backward(loss, heard.logps, model) if self._by_logps_alone else loss

    @property
    def _by_logps_alone(self) -> bool:
        """Whether the loss depends on the model through its log-probs only, not through entropies or a router."""
        return not (self._entropy_bonus_enabled or self.aux_loss_enabled)

    def _correct_metrics(self, batch: Batch, inputs: Batch) -> None:
        """Extend metrics of the computed rows to all rows."""
        metrics = self._metrics["train"]
        share = batch[ROW_SHARE if self.importance_sampling_level == "sequence" else TOKEN_SHARE]
        for name in filter(metrics.get, OTHER_CLIPS.get(self.args.loss_type, CLIPS)):  # luspo has none
            metrics[name][-1] *= share  # a row without advantage is never clipped
        if share < 1 and metrics.get(LOWEST_CLIP):
            metrics[LOWEST_CLIP][-1] = 0.0
        metrics["completion_length"][-1] = float(inputs["completion_mask"].sum(1).float().mean())


def active_rows(inputs: Batch, rules: RowRules) -> Batch:
    """Return the rows of a micro-batch that have an advantage, at the batch's width, each with its old weight.

    Unsloth computes the gradient in the forward pass and would ignore a factor on the loss; positive factors on the
    advantages have the same effect. Padding stays, because Unsloth's packing leaves it out.
    """
    batch = lean(inputs, kept_rows(inputs, rules), rules, trim=False)
    return {**batch, "advantages": batch["advantages"] * batch[LOSS_SCALE]}


def packed_advantages(inputs: dict[str, Any], pad_token_id: int) -> torch.Tensor:
    """Return advantages (B, T) aligned with Unsloth's log-probs (B, W); unchanged with images.

    Unsloth moves each row's padding to the right with a stable sort and keeps the last W columns; the same permutation
    is applied here. W is the width of the old or reference log-probs; without them, T plus a prompt's most padding.
    """
    advantages, completion_ids = inputs["advantages"], inputs["completion_ids"]
    if advantages.shape != completion_ids.shape:
        raise ValueError(f"advantages {tuple(advantages.shape)} must match completions {tuple(completion_ids.shape)}")
    if "max_left_pad" not in inputs or inputs.get("pixel_values") is not None:
        return advantages
    before = [inputs[name] for name in ("old_per_token_logps", "ref_per_token_logps") if inputs.get(name) is not None]
    left_pad = int((inputs["prompt_ids"] == pad_token_id).sum(1).max())
    width = before[0].shape[1] if before else completion_ids.shape[1] + left_pad
    ids = torch.cat([inputs["prompt_ids"], completion_ids], dim=1)
    full = torch.cat([advantages.new_zeros(inputs["prompt_ids"].shape), advantages], dim=1)
    order = (ids != pad_token_id).argsort(dim=1, descending=True, stable=True)
    return full.gather(1, order)[:, -width:]


def generated_module(trainer_class: type) -> ModuleType | None:
    """Return the module Unsloth generated for this trainer; None if the trainer is stock TRL's."""
    for base in trainer_class.__mro__:
        module = sys.modules.get(base.__module__)
        if module is not None and all(hasattr(module, name) for name in (LOSSES[0], "UnslothEfficientGRPO")):
            return module
    return None


def install(module: ModuleType) -> None:
    """Add the level `sequence_token` to the losses of Unsloth's generated module, unless it is there already."""
    if getattr(module, "_gspo_lite_level", None) == LEVEL:
        return
    if module.UnslothEfficientGRPO.forward.__globals__ is not vars(module):
        raise unexpected("its loss is not looked up in the module that holds its trainer")
    for name in LOSSES:
        if hasattr(module, name):
            rebind(module, name)
    module.grpo_accumulated_loss = heard(module.grpo_accumulated_loss)  # type: ignore[attr-defined]
    module.UnslothEfficientGRPO = telling(module.UnslothEfficientGRPO)  # type: ignore[attr-defined]
    module._gspo_lite_level = LEVEL  # type: ignore[attr-defined]


def heard(accumulated_loss: Any) -> Any:
    """Return the function with its last two results, ratio (B, W) or (B, 1) and mask (B, W), sent to listeners."""

    @functools.wraps(accumulated_loss)  # Unsloth inspects signature and source
    def listening(*args: Any, **kwargs: Any) -> Any:
        result = accumulated_loss(*args, **kwargs)
        for listener in LISTENERS:
            listener.ratios.append((result[-2].detach(), result[-1]))
        return result

    return listening


def telling(function: Any) -> Any:
    """Return Unsloth's autograd function; listeners get the log-probs that it is called with."""

    class Telling(function):
        @classmethod
        def apply(cls, logps: torch.Tensor, *rest: Any) -> Any:
            for listener in LISTENERS:
                listener.logps.append(logps)
            return super().apply(logps, *rest)

    return Telling


def rebind(module: ModuleType, name: str) -> None:
    """Add the level to one loss of the module, keeping its source readable for `inspect`."""
    original = getattr(module, name)
    tree = ast.parse(textwrap.dedent(inspect.getsource(original)))
    add_level(tree, name)
    source = ast.unparse(ast.fix_missing_locations(tree)) + "\n"
    filename = f"<{module.__name__}.{name} with {LEVEL}>"
    # Unsloth reads the options of its loss with inspect.getsource.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), vars(module))


def add_level(tree: ast.Module, name: str) -> None:
    """Insert a branch after `sequence` with the same value and each token's own gradient."""
    hits = [node for node in ast.walk(tree) if isinstance(node, ast.If) and is_sequence_branch(node)]
    if len(hits) != 1:
        raise unexpected(f"{name} has {len(hits)} branches for the level `sequence`, not 1")
    branch = hits[0]
    own_gradient = ast.parse(f"{WEIGHTS} = {WEIGHTS}.detach() + new - new.detach()").body
    test = copy.deepcopy(branch.test)
    test.comparators = [ast.Constant(LEVEL)]  # type: ignore[attr-defined]
    branch.orelse = [ast.If(test=test, body=[*copy.deepcopy(branch.body), *own_gradient], orelse=branch.orelse)]


def is_sequence_branch(node: ast.If) -> bool:
    """Return whether this `if importance_sampling_level == 'sequence'` sets the log importance weights."""
    if ast.unparse(node.test) != "importance_sampling_level == 'sequence'":
        return False
    return any(isinstance(n, ast.Name) and n.id == WEIGHTS for part in node.body for n in ast.walk(part))


def unexpected(what: str) -> MachineError:
    """Return the error for an Unsloth that is built differently."""
    from importlib.metadata import version

    return MachineError(
        f"gspo_token cannot be added to the installed unsloth {version('unsloth')}: {what}",
        "use model.backend=transformers, or a version of unsloth that `gspo-lite doctor` lists as tested",
    )
