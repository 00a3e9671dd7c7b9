"""The embedded word problems: a few sums told as a story, made from a seed, each with its worked steps.

    {"prompt": "Rita has 14 stamps. She buys 9 more. ...", "answer": "18", "steps": "14 + 9 = 23, 23 - 5 = 18"}

Owns the stories and their split into train and held-out. Must not know prompts or rewards.
"""

from __future__ import annotations

import random

from gspo_lite.data.embedded import refuse_unknown

CHANGES = {"easy": 1, "hard": 2}  # what happens after the first sentence
SPLITS = ("train", "test")
ROWS, HELD_OUT = 3000, 500
SEED = 2507  # changing it changes every problem
SMALL, LARGE = range(2, 10), range(6, 60)

SHE, HE = ("Rita", "Hazel", "Martha", "Nina", "Olga", "Tilda"), ("Bruno", "Edgar", "Jasper", "Otto", "Simon", "Walter")
THINGS = ("stamps", "buttons", "lemons", "postcards", "shells", "candles", "tulips", "bricks")
BAGS = "{name} fills {a} bags with {b} {things} each."
GAINS = ("{They} buys {n} more.", "{They} finds {n} more in a drawer.", "A neighbour brings {n} more.")
LOSSES = ("{They} gives {n} of them away.", "{n} of them get lost.", "{They} sells {n} of them.")
QUESTION = "How many {things} are there in the end?"


def problems(split: str, difficulty: str | None = None) -> list[dict[str, str]]:
    """Return the problems of one split, always in the same order.

    Args:
        split: `train` or `test`. They share no calculation, whatever the story around it.
        difficulty: `easy` problems take two calculations at most, `hard` ones three; `hard` if left out.

    Raises:
        UsageError: unknown split or difficulty.
    """
    difficulty = difficulty or "hard"
    refuse_unknown("word_problems", split, SPLITS, difficulty, CHANGES)
    rng = random.Random(f"{SEED} word problems {difficulty}")
    made: dict[str, dict[str, str]] = {}  # by calculation
    while len(made) < ROWS + HELD_OUT:
        row = one_problem(rng, CHANGES[difficulty])
        made.setdefault(row["steps"], row)
    rows = list(made.values())
    return rows[:HELD_OUT] if split == "test" else rows[HELD_OUT:]


def one_problem(rng: random.Random, changes: int) -> dict[str, str]:
    """Return a story in which things are counted, in bags or one by one, and then become more or fewer."""
    name, they = rng.choice([(one, "She") for one in SHE] + [(one, "He") for one in HE])
    words = {"name": name, "They": they, "things": rng.choice(THINGS)}
    a, b = rng.choice(SMALL), rng.choice(SMALL)
    in_bags = rng.random() < 0.5
    total = a * b if in_bags else rng.choice(LARGE)
    story = [BAGS.format(a=a, b=b, **words) if in_bags else f"{name} has {total} {words['things']}."]
    steps = [f"{a} * {b} = {total}"] if in_bags else []
    for _ in range(changes):
        more = total < 3 or rng.random() < 0.5
        n = rng.choice(LARGE) if more else rng.randint(1, total - 1)
        story.append(rng.choice(GAINS if more else LOSSES).format(n=n, **words))
        steps.append(f"{total} {'+' if more else '-'} {n} = {total + n if more else total - n}")
        total += n if more else -n
    text = " ".join([*story, QUESTION.format(**words)])
    return {"prompt": text, "answer": str(total), "steps": ", ".join(steps)}
