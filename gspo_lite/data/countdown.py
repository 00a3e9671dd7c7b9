"""The embedded countdown game: reach a target from given numbers, each used once; made from a seed, always solvable.

    {"numbers": [3, 25, 8], "target": 67, "answer": "25 * 3 - 8"}

Owns the games and their split into train and held-out. Must not know prompts or rewards.
"""

from __future__ import annotations

import random
from typing import Any

from gspo_lite.data.embedded import refuse_unknown

COUNTS = {"easy": (3,), "hard": (3, 4)}  # numbers in a game
SPLITS = ("train", "test")
GAMES, HELD_OUT = 4000, 500
LARGEST, MOST = 50, 100  # number, target
SEED = 2507  # changing it changes every game


def problems(split: str, difficulty: str | None = None) -> list[dict[str, Any]]:
    """Return the games of one split, always in the same order.

    Args:
        split: `train` or `test`. They share no game, not even with its numbers in another order.
        difficulty: `easy` has three numbers, `hard` three or four; `hard` if left out.

    Raises:
        UsageError: unknown split or difficulty.
    """
    difficulty = difficulty or "hard"
    refuse_unknown("countdown", split, SPLITS, difficulty, COUNTS)
    rng = random.Random(f"{SEED} countdown {difficulty}")
    games: dict[tuple[int, ...], dict[str, Any]] = {}
    while len(games) < GAMES:
        game = one_game(rng, rng.choice(COUNTS[difficulty]))
        if game is not None:
            games.setdefault((game["target"], *sorted(game["numbers"])), game)
    listed = list(games.values())
    return listed[:HELD_OUT] if split == "test" else listed[HELD_OUT:]


def one_game(rng: random.Random, count: int) -> dict[str, Any] | None:
    """Return numbers joined by random operations as a game; None if a value is not whole or out of bounds."""
    numbers = [rng.randint(1, LARGEST) for _ in range(count)]
    parts = [(number, str(number)) for number in rng.sample(numbers, count)]
    while len(parts) > 1:
        (a, left), (b, right) = parts.pop(), parts.pop()
        sign = rng.choice("+-*/")
        if sign == "/" and (b == 0 or a % b):
            return None
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a // (b or 1)}[sign]
        parts.insert(rng.randrange(len(parts) + 1), (value, f"({left} {sign} {right})"))
    target, solution = parts[0]
    if not 1 <= target <= MOST or target in numbers:
        return None
    return {"numbers": numbers, "target": target, "answer": solution[1:-1]}
