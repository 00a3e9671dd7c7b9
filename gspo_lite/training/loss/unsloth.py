"""GSPO-token in Unsloth's loss: one more level, and listeners to what the loss computes.

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
from gspo_lite.training.loss.stock import LEVEL

LOSSES = ("grpo_compute_loss", "grpo_compute_loss_slow")
WEIGHTS = "log_importance_weights"


class Heard(NamedTuple):
    """What a listener gets of the losses that are computed: their log-probs (B, W), and ratios with masks."""

    logps: list[torch.Tensor]
    ratios: list[tuple[torch.Tensor, torch.Tensor]]


LISTENERS: list[Heard] = []


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
    """Return Unsloth's autograd function; listeners get the log-probs that it is called with.

    Where vLLM's log-probs are given and no old ones, the policy has not moved: the old ones are then the new ones.
    """

    class Telling(function):
        @classmethod
        def apply(cls, logps: torch.Tensor, old: Any, ref: Any, sampled: Any, *rest: Any) -> Any:
            for listener in LISTENERS:
                listener.logps.append(logps)
            if old is None and sampled is not None:
                old = logps.detach()
            return super().apply(logps, old, ref, sampled, *rest)

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
