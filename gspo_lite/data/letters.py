"""The embedded guessing game: find a letter by guesses, each of which is answered with what it can still be.

    {"prompt": "Game 17: guess my letter, abcdefghijklmno", "answer": "k", "guesses": 4}

After the guess h the reply is `ijklmno`, after m `ijkl`, and after k `right`.

`GuessLetter` is an environment as a user writes one, named in a recipe as `gspo_lite.data.letters:GuessLetter`; its
child also says what each guess was worth. Owns the games, their split into train and held-out, and their rules. Must
not know the model.
"""

from __future__ import annotations

import random
from typing import Any

from gspo_lite.data.embedded import refuse_unknown

LETTERS = tuple("abcdefghijklmno")  # unlike text, it contains no more than single letters
GUESSES = {"easy": 5, "hard": 4}  # in a game; 4 are enough for whoever halves what is left each time
SPLITS = ("train", "test")
ROWS, HELD_OUT = 2500, 500
SEED = 2507  # changing it changes every game
OVER = "the game is over"


class GuessLetter:
    """One game at a time: the letter of a row is to be found within a number of guesses.

    The only measure of success is whether the letter was guessed; what a model writes besides has no effect.
    """

    def reset(self, answer: str, guesses: int = GUESSES["hard"], **row: Any) -> None:
        """Begin the game of a row.

        Args:
            answer: the letter to find.
            guesses: how many are allowed.
            row: other columns, which this game has no use for.
        """
        self.answer, self.left = answer, int(guesses)
        self.possible = list(LETTERS)  # by the replies so far
        self.won, self.values = False, list[float]()

    def guess(self, letter: str) -> str:
        """Guess the letter; the reply says whether it is right, or else which letters are left, in order.

        Args:
            letter: one letter
        """
        if self.won or not self.left:
            return OVER
        self.left -= 1
        self.values.append(self._worth(letter))
        if letter not in LETTERS:
            return "not a letter"
        if letter == self.answer:
            self.won = True
            return "right"
        is_later = letter < self.answer
        self.possible = [one for one in self.possible if one != letter and (one > letter) == is_later]
        return "".join(self.possible)

    def _worth(self, letter: str) -> float:
        """Return how much a guess rules out for certain, as a share of what the best guess would; 0 for a useless one.

        It does not depend on the letter to find, so that luck is not rewarded.
        """
        if letter not in self.possible:
            return 0.0
        before, count = self.possible.index(letter), len(self.possible)
        return (min(before, count - 1 - before) + 1) / ((count - 1) // 2 + 1)

    def get_reward(self) -> float:
        """Return 1.0 for a game that was won, else 0.0."""
        return float(self.won)


class CoachedGuessLetter(GuessLetter):
    """The same game, whose every guess is paid for what it was worth, beside the outcome."""

    def get_turn_rewards(self) -> list[float]:
        """Return what each guess was worth."""
        return self.values


def problems(split: str, difficulty: str | None = None) -> list[dict[str, Any]]:
    """Return the games of one split, always in the same order.

    Args:
        split: `train` or `test`. They share no number of a game, so that none can be learned by heart.
        difficulty: `easy` games have 5 guesses, `hard` ones 4; `hard` if left out.

    Raises:
        UsageError: unknown split or difficulty.
    """
    difficulty = difficulty or "hard"
    refuse_unknown("letters", split, SPLITS, difficulty, GUESSES)
    rng, prompt = random.Random(f"{SEED} letters"), f"guess my letter, {''.join(LETTERS)}"
    rows = [
        {"prompt": f"Game {number}: {prompt}", "answer": rng.choice(LETTERS), "guesses": GUESSES[difficulty]}
        for number in range(1, ROWS + HELD_OUT + 1)
    ]
    return rows[:HELD_OUT] if split == "test" else rows[HELD_OUT:]
