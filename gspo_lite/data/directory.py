"""The embedded directory: which room somebody is in, which no model can know and a tool looks up.

    {"prompt": "Where is Nora Berg?", "answer": "attic"}

`find` is a tool as a user writes one, named in a recipe as `gspo_lite.data.directory:find`. Owns the people, their
split into train and held-out, and the tool. Must not know the model.
"""

from __future__ import annotations

import random
from itertools import product

from gspo_lite.data.embedded import refuse_unknown

FIRST = (
    "Agnes", "Basil", "Clara", "Daniel", "Edith", "Felix", "Greta", "Hector", "Irene", "Jasper",
    "Laura", "Martin", "Nora", "Oscar", "Paula", "Rita", "Simon", "Tilda", "Vera", "Walter",
)  # fmt: skip
LAST = (
    "Adler", "Berg", "Curtis", "Dunn", "Ellis", "Frost", "Grant", "Holt", "Irving", "Jonas",
    "Keller", "Lange", "Moss", "Nash", "Olsen", "Price", "Quinn", "Reed", "Stone", "Turner",
)  # fmt: skip
ROOMS = (
    "attic", "bath", "cellar", "den", "foyer", "garage", "hall", "kitchen", "library", "pantry", "study", "tower",
)  # fmt: skip
SPLITS, DIFFICULTIES = ("train", "test"), ("easy",)
HELD_OUT = 200
SEED = 2507  # changing it changes where everybody is
_draw = random.Random(f"{SEED} directory")
WHERE = {name: _draw.choice(ROOMS) for name in product(FIRST, LAST)}


def find(first: str, last: str) -> str:
    """Look up which room a person is in.

    Args:
        first: the person's first name
        last: the person's last name
    """
    return WHERE.get((first, last), "nobody of this name")


def problems(split: str, difficulty: str | None = None) -> list[dict[str, str]]:
    """Return the questions of one split, always in the same order.

    Args:
        split: `train` or `test`. They ask about different people.
        difficulty: only `easy`.

    Raises:
        UsageError: unknown split or difficulty.
    """
    refuse_unknown("directory", split, SPLITS, difficulty or "easy", DIFFICULTIES)
    people = sorted(WHERE)
    random.Random(f"{SEED} {HELD_OUT}").shuffle(people)
    asked = people[:HELD_OUT] if split == "test" else people[HELD_OUT:]
    return [{"prompt": f"Where is {first} {last}?", "answer": WHERE[first, last]} for first, last in asked]
