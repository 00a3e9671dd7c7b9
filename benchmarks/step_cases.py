"""What train_step.py optimises: the shapes of rollouts, and the speed-ups that are wanted on each.

Two models, both with 8 to 26 percent of their dense work in the head. The small one (2 layers of width 256, attention
of width 128, 2000 words) has the proportions of Qwen3-0.6B: its head takes 26 percent of the dense work, attention 15
percent at 425 tokens, where Qwen3-0.6B has 26 and 11. The deep one (6 layers, attention of width 256) is what older
figures were measured on. Must not import torch.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

VOCABULARY = 2000
END = 1  # token that ends a completion; 0 is padding
CONTENDERS = ("stock", "gspo", "gspo_token", "turns")


@dataclass(frozen=True)
class Case:
    """The shape of a rollout and of its model.

    Attributes:
        flat: share of groups without variance of rewards.
        prompts: fewest and most tokens of a prompt.
        mean: of log-normal lengths between `shortest` and `longest`; None draws them uniformly.
        equal: every completion has the mean length.
        weights: `lora`, `nf4` (LoRA on 4-bit weights) or `full`.
        heads: of 64 columns each.
    """

    name: str
    flat: float = 0.5
    prompts: tuple[int, int] = (12, 40)
    mean: float | None = 86.0
    shortest: int = 4
    longest: int = 256
    equal: bool = False
    completions: int = 64
    weights: str = "lora"
    group: int = 8
    width: int = 256
    layers: int = 2
    heads: int = 2


SHORT = Case("short-50")
GSM8K = replace(SHORT, name="gsm8k-50", prompts=(150, 200), mean=None, shortest=100, longest=400)
REFERENCE = replace(SHORT, name="reference", layers=6, heads=4)
CASES = {
    case.name: case
    for case in (
        *(replace(SHORT, name=f"short-{share}", flat=share / 100) for share in (0, 50, 75)),
        *(replace(GSM8K, name=f"gsm8k-{share}", flat=share / 100) for share in (0, 50, 75)),
        REFERENCE,
        replace(REFERENCE, name="worst", flat=0.0, equal=True),
        replace(REFERENCE, name="tail", flat=0.0, mean=160.0, longest=1024, completions=32),
        replace(REFERENCE, name="nf4", weights="nf4"),
        replace(REFERENCE, name="full", weights="full"),
        replace(SHORT, name="quick", completions=32, mean=22.0, longest=64, width=64, heads=1),  # for tests
    )
}
# Least speed-up of gspo over the stock trainer of a path that is wanted, by path and by what is compared.
TARGETS = {
    ("plain", "seconds"): {"gsm8k-0": 2.5, "gsm8k-50": 5.0, "reference": 4.0, "worst": 1.1},
    ("plain", "gflop"): {"quick": 8.0},
    ("unsloth", "gflop"): {
        "short-0": 1.08, "short-50": 2.0, "short-75": 5.0, "gsm8k-0": 1.5, "gsm8k-50": 3.0, "gsm8k-75": 7.0,
        "quick": 2.0,
    },
    ("vllm", "gflop"): {"short-50": 2.5, "gsm8k-50": 2.5, "quick": 2.5},
}  # fmt: skip
MOST_OVER_GSPO = 1.03  # cost of gspo_token and of credit by turn, over gspo on the same path
AGREE = 1e-5  # largest relative gap of a gradient of a row that is printed with a speed-up


@dataclass(frozen=True)
class Rollout:
    """Rows of a rollout, group after group: tokens, rewards, which tokens are a tool's, and the values of turns."""

    prompts: list[list[int]]
    completions: list[list[int]]
    rewards: list[float]

    @property
    def own_tokens(self) -> list[list[int]]:
        """Which tokens the model wrote, 1, and which a tool did, 0: a tool's between two turns where there is room."""
        lengths = [len(ids) for ids in self.completions]
        return [[1] * (n // 2) + [0] * (n // 5) + [1] * (n - n // 2 - n // 5) for n in lengths]

    @property
    def turn_values(self) -> list[list[float]]:
        """A value for each turn; turns of a group without variance have none either."""
        varies = [abs(reward - 0.5) > 0 for reward in self.rewards]
        draw = random.Random(1)
        values = [[draw.random(), draw.random()] if one else [0.5, 0.5] for one in varies]
        return [pair[: 2 if len(ids) >= 5 else 1] for pair, ids in zip(values, self.completions, strict=True)]


def rollout(case: Case) -> Rollout:
    """Return the rows of a case, the same for all contenders."""
    draw = random.Random(0)
    groups = case.completions // case.group
    prompts = [words(draw, draw.randint(*case.prompts)) for _ in range(groups)]
    lengths = [length(case, draw) for _ in range(case.completions)]
    if not case.equal:
        lengths[draw.randrange(case.completions)] = case.longest  # the limit is reached, as it is in most rollouts
    completions = [[*words(draw, count - 1), END] for count in lengths]
    flat = round(case.flat * groups)
    rewards = [0.5 if row // case.group < flat else float(draw.random() < 0.5) for row in range(case.completions)]
    return Rollout([prompt for prompt in prompts for _ in range(case.group)], completions, rewards)


def words(draw: random.Random, count: int) -> list[int]:
    """Return random tokens."""
    return [draw.randrange(10, VOCABULARY) for _ in range(count)]


def length(case: Case, draw: random.Random) -> int:
    """Return the length of a completion."""
    if case.mean is None:
        return draw.randint(case.shortest, case.longest)
    if case.equal:
        return round(case.mean)
    spread = 0.8
    found = draw.lognormvariate(math.log(case.mean) - spread**2 / 2, spread)
    return max(case.shortest, min(case.longest, round(found)))
