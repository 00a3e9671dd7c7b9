"""The embedded countdown game: reach a target from given numbers, each used once; made from a seed, always solvable.

    {"numbers": [3, 25, 8], "target": 67, "answer": "25 * 3 - 8"}

Owns the games and their split into train and held-out. Must not know prompts or rewards.
"""

from __future__ import annotations

import random
from typing import Any

from gspo_lite.errors import UsageError

COUNTS = {"easy": (3,), "hard": (3, 4)}  # how many numbers a game has
SPLITS = ("train", "test")
GAMES, HELD_OUT = 4000, 500
LARGEST, MOST = 50, 100  # number, target
SEED = 2507  # changing it changes every game


def problems(split: str, difficulty: str | None = None) -> list[dict[str, Any]]:
    """List the games of one split, always in the same order.

    Args:
        split: `train` or `test`. No game of one is in the other, not even with its numbers in another order.
        difficulty: `easy` has three numbers, `hard` three or four; `hard` if left out.

    Raises:
        UsageError: for another split or difficulty.
    """
    difficulty = difficulty or "hard"
    if split not in SPLITS:
        raise UsageError(f"`countdown` has no split `{split}`; allowed: {', '.join(f'`{s}`' for s in SPLITS)}")
    if difficulty not in COUNTS:
        allowed = ", ".join(f"`{name}`" for name in COUNTS)
        raise UsageError(f"`countdown` has no difficulty `{difficulty}`; allowed: {allowed}", "set data.subset")
    rng = random.Random(f"{SEED} countdown {difficulty}")
    games: dict[tuple[int, ...], dict[str, Any]] = {}
    while len(games) < GAMES:
        game = one_game(rng, rng.choice(COUNTS[difficulty]))
        if game is not None:
            games.setdefault((game["target"], *sorted(game["numbers"])), game)
    listed = list(games.values())
    return listed[:HELD_OUT] if split == "test" else listed[HELD_OUT:]


def one_game(rng: random.Random, count: int) -> dict[str, Any] | None:
    """A game and its solution: numbers joined by random operations; None where that leaves whole numbers or bounds."""
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
