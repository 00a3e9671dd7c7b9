"""The embedded sentences: find out who is how old, and reply in JSON; made from a seed, with distractors.

    {"prompt": "Ruth shares flat 31 with Basil and is 58.", "answer": '{"name": "Ruth", "age": 58}', "schema": "{..}"}

The schema admits that one name and that one age only, so `json_schema` checks the content as well as the form. Owns the
sentences and their split into train and held-out. Must not know prompts or rewards.
"""

from __future__ import annotations

import json
import random

from gspo_lite.data.embedded import refuse_unknown

SPLITS = ("train", "test")
ROWS, HELD_OUT = 3000, 500
SEED = 2507  # changing it changes every sentence
AGES = range(6, 95)
NUMBERS = range(2, 400)  # of a house, a bus, a page

# The two splits share no name, so that held-out figures cannot come from names learned by heart.
NAMES = {
    "train": (
        "Agnes Albert Alice Andrea Arthur Beatrice Bruno Cecil Chloe Claire Conrad Daniel Diana Edgar Edith Elena "
        "Esther Felix Flora Frank Fred Georgia Grace Harold Hazel Helen Henry Hilda Irene Isaac Ivan Jane Jasper "
        "Joan Julia Karl Laura Lewis Linda Louis Lydia Marcus Martha Martin Maud Miles Monica Nadia Nathan Nina "
        "Oscar Otto Pamela Patrick Peter Philip Rachel Ralph Rita Robert Roland Ruby Sally Simon Sonia Stella "
        "Theo Tina Ursula Vera Victor Walter"
    ),
    "test": (
        "Adam Amy Anton Basil Bella Boris Carol Clara Dennis Doris Edwin Erik Eva Fiona George Gloria Greta "
        "Hector Ida Ingrid Jacob James Judith Kate Lena Leonard Lily Margaret Mark Mary Nancy Nigel Olga Oliver "
        "Paula Quentin Rose Ruth Samuel Sarah Sean Susan Thomas Tilda Vincent Viola Wendy William"
    ),
}  # fmt: skip
PLAIN = (
    "{name} is {age} years old.",
    "This is {name}, who has just turned {age}.",
    "At the age of {age}, {name} learned to swim.",
    "{name} ({age}) repairs old clocks.",
    "My name is {name} and I am {age}.",
    "There were {age} candles on the birthday cake of {name}.",
    "The doctor wrote down: {name}, aged {age}.",
    "Nobody believes that {name} is already {age}.",
)
DISTRACTING = (
    "{name}, {age}, lives at {number} Mill Road with a dog named {other}.",
    "{name} is {age} and takes bus {number} to visit {other}.",
    "{other} told me that {name} is {age} and owns {number} records.",
    "In room {number} sits {name}, aged {age}, who is waiting for {other}.",
    "{name} shares flat {number} with {other} and is {age}.",
    "Page {number} is about {name}, {age}, the neighbour of {other}.",
    "{other} sold {number} tickets, one of them to {name}, who is {age}.",
    "After {number} days at sea, {name}, {age}, wrote a letter to {other}.",
)
FORMS = {"easy": PLAIN, "hard": PLAIN + DISTRACTING}


def problems(split: str, difficulty: str | None = None) -> list[dict[str, str]]:
    """Return the sentences of one split, always in the same order.

    Args:
        split: `train` or `test`. They share no sentence and no name.
        difficulty: `easy` sentences hold one name and one number; of `hard` ones half hold another name and number,
            too. `hard` if left out.

    Raises:
        UsageError: unknown split or difficulty.
    """
    difficulty = difficulty or "hard"
    refuse_unknown("people", split, SPLITS, difficulty, FORMS)
    rng, names = random.Random(f"{SEED} people {difficulty} {split}"), NAMES[split].split()
    wanted_rows = HELD_OUT if split == "test" else ROWS
    made: dict[str, dict[str, str]] = {}  # by sentence, so that none occurs twice
    while len(made) < wanted_rows:
        row = one_row(rng, names, FORMS[difficulty])
        made.setdefault(row["prompt"], row)
    return list(made.values())


def one_row(rng: random.Random, names: list[str], forms: tuple[str, ...]) -> dict[str, str]:
    """Return a sentence about a random person, with the JSON to reply and the schema that only this reply fits."""
    name, other = rng.sample(names, 2)
    age, number = rng.choice(AGES), rng.choice(NUMBERS)
    sentence = rng.choice(forms).format(name=name, other=other, age=age, number=number)
    schema = {
        "type": "object",
        "properties": {"name": {"const": name}, "age": {"const": age}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    return {"prompt": sentence, "answer": json.dumps({"name": name, "age": age}), "schema": json.dumps(schema)}
