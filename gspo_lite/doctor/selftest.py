"""Runs the loss self-test of every algorithm with the trainer that a run would use here."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

from gspo_lite.doctor.machine import Machine
from gspo_lite.errors import MachineError
from gspo_lite.models.load import choose_backend
from gspo_lite.recipe.schema import ModelSettings, Recipe


def run_self_test(machine: Machine, recipe: Recipe | None) -> dict[str, float]:
    """Import the backend as a run does and return the relative gap of its loss to the definition, by algorithm.

    Takes about 20 seconds. Without a recipe Unsloth is tried on a GPU only: on a CPU it trains with TRL's trainer, and
    importing it takes as long again.

    Raises:
        MachineError: torch cannot use the GPU, the backend cannot run, or its loss differs.
    """
    by_default = ModelSettings(name="starter", backend="auto" if machine.usable_gpu else "transformers")
    with redirect_stdout(sys.stderr):  # output of libraries on import must not end up in --json
        choose_backend(recipe.model if recipe else by_default)
        import torch

        from gspo_lite.training.levels import gaps_of_all_levels

        if machine.usable_gpu and not torch.cuda.is_available():
            raise MachineError(
                "torch cannot use the GPU, although it was built for CUDA",
                "compare driver and CUDA version above; CUDA_VISIBLE_DEVICES may hide the GPU",
            )
        return gaps_of_all_levels()
