"""The embedded products and the calculator for them: numbers that a small model cannot multiply in its head.

    {"prompt": "What is 47 * 85?", "answer": "3995"}

`multiply` is a tool as a user writes one, named in a recipe as `gspo_lite.data.products:multiply`. Owns the products,
their split into train and held-out, and the tool. Must not know the model.
"""

from __future__ import annotations

import random

from gspo_lite.data.embedded import refuse_unknown

# Two numbers from 32 to 99 have a product of four digits: results of one length are easy to repeat for a small model.
NUMBERS = {"easy": range(32, 100), "hard": range(100, 1000)}
SPLITS = ("train", "test")
ROWS, HELD_OUT = 1500, 500
SEED = 2507  # changing it changes every product


def multiply(a: int, b: int) -> int:
    """Multiply two whole numbers.

    Args:
        a: the first number
        b: the second number
    """
    return int(a) * int(b)  # a model may give text, which `*` alone would repeat


def problems(split: str, difficulty: str | None = None) -> list[dict[str, str]]:
    """Return the products of one split, always in the same order.

    Args:
        split: `train` or `test`. They share no product, not even with its numbers swapped.
        difficulty: `easy` multiplies numbers from 32 to 99, `hard` of three digits; `easy` if left out.

    Raises:
        UsageError: unknown split or difficulty.
    """
    difficulty = difficulty or "easy"
    refuse_unknown("products", split, SPLITS, difficulty, NUMBERS)
    rng = random.Random(f"{SEED} products {difficulty}")
    made: dict[tuple[int, ...], dict[str, str]] = {}  # by the sorted numbers
    while len(made) < ROWS + HELD_OUT:
        a, b = rng.choice(NUMBERS[difficulty]), rng.choice(NUMBERS[difficulty])
        made.setdefault((min(a, b), max(a, b)), {"prompt": f"What is {a} * {b}?", "answer": str(a * b)})
    rows = list(made.values())
    return rows[:HELD_OUT] if split == "test" else rows[HELD_OUT:]
