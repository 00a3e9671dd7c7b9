"""The contenders of gpu.py and the rollouts that they are given. Must not import torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from step_cases import END, Case, rollout

# Lengths of GSM8K, and long ones, where attention and offloaded checkpoints count.
CASES = {
    "gsm8k": Case("gsm8k", mean=200.0, longest=512),
    "long": Case("long", mean=700.0, longest=2048, completions=16),
}
TINY = Case("tiny", mean=12.0, longest=24, completions=16)
ACCUMULATION = 2


class Contender(NamedTuple):
    """A way to train.

    Attributes:
        ours: the trainer is GSPOTrainer, not the GRPOTrainer that is live on the backend.
        over: the contender that its speed-up is told over and its gradients are compared with.
        level: of the ratio.
        credit: every token of a row that teaches has an advantage of its own.
        packed: Unsloth may pack rows and share prompts, as it does by itself; off, rounding is much smaller.
    """

    backend: str
    ours: bool
    over: str | None
    level: str = "sequence"
    credit: bool = False
    packed: bool = True

    @property
    def environment(self) -> dict[str, str]:
        """Variables of its process."""
        return {} if self.packed else {"UNSLOTH_GRPO_SEQ_PACKING": "0"}


TOKEN = "sequence_token"
CONTENDERS = {
    "trl": Contender("transformers", False, None),
    "ours on trl": Contender("transformers", True, "trl"),
    "unsloth": Contender("unsloth", False, "trl"),
    "ours on unsloth": Contender("unsloth", True, "unsloth"),
    "ours on unsloth, token": Contender("unsloth", True, "ours on unsloth", TOKEN),
    "unsloth unpacked": Contender("unsloth", False, None, packed=False),
    "ours on unsloth unpacked": Contender("unsloth", True, "unsloth unpacked", packed=False),
    "ours on unsloth unpacked, credit": Contender("unsloth", True, None, TOKEN, credit=True, packed=False),
    "ours on unsloth, credit": Contender("unsloth", True, "ours on unsloth unpacked, credit", TOKEN, credit=True),
}
USUAL = [name for name, one in CONTENDERS.items() if one.packed and not one.credit]
# Largest relative difference of two gradients that are called the same: in float32, in bfloat16 on NF4 by other
# kernels, and in bfloat16 by the same.
AGREE_FLOAT32, AGREE_OTHER_KERNELS, AGREE_SAME_KERNELS = 1e-4, 0.1, 1e-2


def agree(name: str, dry: bool) -> float:
    """Return how far the gradients of a contender may be from those of the one that it is compared with."""
    other = CONTENDERS[CONTENDERS[name].over or name]
    same = not CONTENDERS[name].packed and not other.packed
    return AGREE_FLOAT32 if dry else AGREE_SAME_KERNELS if same else AGREE_OTHER_KERNELS


def batch_of(case: Case) -> int:
    """Return the rows of a micro-batch, so that a rollout has two optimizer steps and needs old log-probs."""
    return min(8, case.completions // (2 * ACCUMULATION))


class Canned:
    """A rollout in place of sampling: the prompts, completions and rewards of train_step.py in another vocabulary."""

    def __init__(self, vocabulary: int, case: Case) -> None:
        self.case = case
        self.words = vocabulary - 10
        self.deal(0.0)

    def deal(self, flat: float) -> None:
        """Make the rollout in which this share of groups has equal rewards; its tokens are always the same."""
        rows = rollout(replace(self.case, flat=flat))
        self.rewards = rows.rewards
        self.prompts = [[10 + token % self.words for token in row] for row in rows.prompts]
        self.completions = [[10 + token % self.words for token in row[:-1]] + [END] for row in rows.completions]

    @property
    def tokens(self) -> int:
        return sum(map(len, self.prompts)) + sum(map(len, self.completions))

    def generate(self, *_: Any) -> tuple[Any, ...]:
        """Return what `GRPOTrainer._generate` does."""
        return self.prompts, self.completions, None, ["b"] * self.case.completions, None, {}, None, []

    def reward(self, completions: list[Any], **_: Any) -> list[float]:
        return self.rewards
