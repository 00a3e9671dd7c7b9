"""The mixins that stand in front of the installed trainer: stock TRL's, or Unsloth's if it was imported first.

Owns the question which of the two trains in this process.
"""

from __future__ import annotations

from typing import Any

from trl import GRPOTrainer

from gspo_lite.training.loss.groups import WholeGroups
from gspo_lite.training.loss.rollout import LeanRollout
from gspo_lite.training.loss.stock import SequenceTokenLoss
from gspo_lite.training.loss.unsloth import UnslothTokenLoss, generated_module, install

UNSLOTH = generated_module(GRPOTrainer)  # None if the trainer is stock TRL's
if UNSLOTH is not None:
    install(UNSLOTH)


class StockPath(LeanRollout, SequenceTokenLoss, WholeGroups):
    """Mixins in front of stock TRL's trainer."""


class UnslothPath(UnslothTokenLoss, WholeGroups):
    """Mixins in front of Unsloth's trainer."""


LossPath: Any = StockPath if UNSLOTH is None else UnslothPath
