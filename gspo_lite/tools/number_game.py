"""A game of several turns as an environment, named in a recipe as `gspo_lite.tools.number_game:NumberGame`.

The countdown game, step by step: numbers lie on a table, a step replaces two of them by their sum, difference, product
or quotient, and the game is won when nothing but the target is left. Copy the file to write a game of your own: public
methods are what the model may call, as their docstrings tell it; the rest is between the game and the trainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SIGNS = ("+", "-", "*", "/")


class NumberGame:
    """One game at a time, begun anew for each row of the data with its columns `numbers` and `target`."""

    def reset(self, numbers: Sequence[int], target: int, **row: Any) -> None:
        """Begin a game.

        Args:
            numbers: on the table.
            target: the number to reach.
            row: other columns, which this game has no use for.
        """
        self.table, self.target = [int(number) for number in numbers], int(target)

    def combine(self, first: int, sign: str, second: int) -> str:
        """Replace two numbers on the table by the result of a calculation.

        Args:
            first: a number on the table
            sign: one of + - * /
            second: another number on the table
        """
        left = list(self.table)
        for number in (int(first), int(second)):
            if number not in left:
                raise ValueError(f"{number} is not on the table any more: {self.shown()}")
            left.remove(number)
        self.table = [*left, calculated(int(first), sign, int(second))]
        return self.shown()

    def get_reward(self) -> float:
        """Return 1.0 if only the target is left, else 0.0; TRL and gspo-lite add it to the other rewards."""
        return float(self.table == [self.target])

    def shown(self) -> str:
        """Return the table as the model is shown it."""
        numbers = f"on the table: {', '.join(map(str, self.table))}"
        if len(self.table) > 1:
            return numbers
        return f"{numbers}. {'You have won.' if self.table == [self.target] else f'It is not {self.target}: lost.'}"


def calculated(first: int, sign: str, second: int) -> int:
    """Return the result of a step; refuse what the game does not allow, with the reason."""
    if sign not in SIGNS:
        raise ValueError(f"`{sign}` is none of {' '.join(SIGNS)}")
    if sign == "/" and (second == 0 or first % second):
        raise ValueError(f"{first} / {second} is not a whole number")
    return {"+": first + second, "-": first - second, "*": first * second, "/": first // (second or 1)}[sign]
