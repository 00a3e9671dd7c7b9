"""Turns a rollout's rewards into advantages per token (B, T) by the formulas of `credit.py`. Must not know losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
import torch

from gspo_lite.completion.decoding import Decode, decoder
from gspo_lite.completion.marks import Mark
from gspo_lite.completion.offsets import Offset, part_offsets, token_offsets
from gspo_lite.completion.text import Layout, first_layout
from gspo_lite.credit import (
    Score,
    Steps,
    Turns,
    credit_weights,
    credited_advantages,
    prefix_tree_advantages,
    step_values,
    token_weights,
    turn_advantages,
    turn_numbers,
)
from gspo_lite.errors import RewardError
from gspo_lite.recipe.schema import Credit
from gspo_lite.rewards.contract.sums import all_equal, weighted_sum


@dataclass(frozen=True)
class TokenCredit:
    """Credit of every reward, and how advantages are made of it.

    Attributes:
        credits: the part of a completion that each reward is about, None for all of it; (K,).
        layouts: of the completions as each reward reads them, None for what `credit_spans` finds first; (K,).
        weights: of each reward in the sum; (K,).
        estimator: `rewards` for the credit of each reward, `prefix_tree` for values of shared prefixes.
        gamma: share of what the next turn earns that counts for a turn.
        names: of the rewards, for messages.
    """

    credits: Sequence[Credit | None]
    layouts: Sequence[Layout | None]
    weights: Sequence[float]
    num_generations: int
    scale_rewards: str
    estimator: str
    tokenizer: Any
    gamma: float = 0.0
    names: Sequence[str] = ()

    @property
    def layout(self) -> Layout:
        """Layout in which completions are decoded: that of the first reward with one."""
        return first_layout(self.layouts)

    @cached_property
    def decode(self) -> Decode:
        """What turns ids into the text that is judged; one for all rows, which share its texts of single tokens."""
        return decoder(self.tokenizer, self.layout)

    def advantages(
        self,
        rewards: np.ndarray,
        marks: Sequence[Sequence[Any]],
        completion_ids: Sequence[list[int]],
        width: int,
        parts: Sequence[Sequence[str]] | None = None,
        own: Sequence[list[bool]] | None = None,
    ) -> torch.Tensor | None:
        """Return advantages (N, width); None if the tokens of each completion share one and TRL's suffice.

        Args:
            rewards: (N, K) in whole groups, NaN where a reward could not judge.
            marks: what each reward returned for each completion, K lists of N; spans, steps and turns are used.
            completion_ids: N lists of ids without padding.
            parts: N lists of the parts of the text that was judged; that which the ids decode to, if left out.
            own: whether the model wrote each of the ids, and not a tool; all of them, if left out.
        """
        if self.estimator == "prefix_tree":
            return self.from_prefixes(rewards, completion_ids, width)
        marked = [any(isinstance(mark, Mark) for mark in one) for one in marks]
        if not any(marked) and all(credit in (None, "all") for credit in self.credits):
            return None
        numbers = [turn_numbers(row) for row in own or ([True] * len(ids) for ids in completion_ids)]
        by_turn = [any(isinstance(mark, Turns) for mark in one) for one in marks]
        weights = np.where(by_turn, 0.0, self.weights)  # of the outcome; values of turns are compared among turns
        credits = np.zeros((*rewards.shape, width))
        values = np.repeat(rewards[:, :, None], width, axis=2)
        for row, ids in enumerate(completion_ids):
            text, offsets = self.read(ids, None if parts is None else parts[row], None if own is None else own[row])
            for k, (credit, layout) in enumerate(zip(self.credits, self.layouts, strict=True)):
                mark = marks[k][row] if marked[k] else None
                if isinstance(mark, Score) and mark.spans is not None:
                    credits[row, k, : len(ids)] = token_weights(mark.spans, offsets)
                else:
                    credits[row, k, : len(ids)] = credit_weights(credit, text, offsets, layout, numbers[row])
                if isinstance(mark, Steps) and mark.steps:
                    values[row, k, : len(ids)] = step_values(mark, offsets)
        result = credited_advantages(
            rewards, weights, credits, self.num_generations, self.scale_rewards, token_rewards=values
        )
        # Equal sums R of different rewards may differ by rounding, which would give advantages in the thousands.
        outcome = torch.from_numpy(result).float() * self.spreads(rewards, weights).unsqueeze(1)
        return outcome + self.from_turns(marks, by_turn, numbers, width) if any(by_turn) else outcome

    def from_turns(
        self, marks: Sequence[Sequence[Any]], by_turn: Sequence[bool], numbers: Sequence[list[int]], width: int
    ) -> torch.Tensor:
        """Return what the rewards of single turns add to the advantages, (N, width)."""
        rewards = [
            np.stack([self.turn_values(k, row, marks, max(turns, default=0)) for k in range(len(marks))], axis=1)
            for row, turns in enumerate(numbers)
        ]
        rewards = [np.where(by_turn, one, np.nan) for one in rewards]
        added = turn_advantages(rewards, self.weights, self.num_generations, self.scale_rewards, self.gamma)
        rows = [np.concatenate([[0.0], one])[turns] for one, turns in zip(added, numbers, strict=True)]
        return torch.tensor(np.array([np.pad(row, (0, width - len(row))) for row in rows])).float()

    def turn_values(self, k: int, row: int, marks: Sequence[Sequence[Any]], count: int) -> np.ndarray:
        """Return the value of reward `k` for each turn of a completion, (count,); NaN where it says nothing.

        Raises:
            RewardError: the completion has another number of turns.
        """
        mark = marks[k][row] if marks[k] else None
        if not isinstance(mark, Turns):  # a number is about every turn; a reward may not value turns every time
            return np.full(count, np.nan if mark is None or isinstance(mark, Mark) else float(mark))
        if len(mark.values) != count:
            name = self.names[k] if self.names else str(k + 1)
            message = f"reward `{name}` returned values of {len(mark.values)} turns for a completion of {count}"
            raise RewardError(message, "give one value, or None, for each of the assistant's messages")
        return np.array([np.nan if value is None else value for value in mark.values], dtype=float)

    def by_characters(self, ids: list[int], advantages: Sequence[float], text: str) -> list[list[float]]:
        """Return [[start, end, A_it]] in characters of the text that was judged, for each token that has text."""
        whole, offsets = self.read(ids)
        before, places = written_before(text, whole), zip(offsets, advantages[: len(ids)], strict=True)
        return [[before + start, before + end, round(value, 4)] for (start, end), value in places if end > start]

    def read(
        self, ids: list[int], parts: Sequence[str] | None = None, own: list[bool] | None = None
    ) -> tuple[str, list[Offset]]:
        """Return the text of one completion that was judged, and the characters in it that each id stands for."""
        mine = ids if own is None else [*compress(ids, own)]
        whole = self.decode(mine)
        offsets = token_offsets(self.tokenizer, mine, whole, self.decode)
        text = whole if parts is None else "".join(parts)
        if before := written_before(text, whole):
            offsets = [(before + start, before + end) for start, end in offsets]
        elif parts is not None and text != whole:
            offsets = part_offsets(offsets, whole, parts)
        rest, end = iter(offsets), len(text)
        placed = [next(rest) if is_own else (end, end) for is_own in own or [True] * len(ids)]
        return text, placed

    def from_prefixes(self, rewards: np.ndarray, completion_ids: Sequence[list[int]], width: int) -> torch.Tensor:
        """Return advantages (N, width) from the values of shared prefixes."""
        sums = [math.nan if total is None else total for total in sums_of(rewards, self.weights)]
        rows = prefix_tree_advantages(completion_ids, sums, self.num_generations)
        padded = torch.tensor([row + [0.0] * (width - len(row)) for row in rows])
        return padded * self.spreads(rewards, self.weights).unsqueeze(1)

    def spreads(self, rewards: np.ndarray, weights: Sequence[float]) -> torch.Tensor:
        """Return 1 for each row whose group has different rewards R, else 0, (N,)."""
        sums, size = sums_of(rewards, weights), self.num_generations
        spread = [not all_equal(sums[start : start + size]) for start in range(0, len(sums), size)]
        return torch.tensor(spread).float().repeat_interleave(size)


def sums_of(rewards: np.ndarray, weights: Sequence[float]) -> list[float | None]:
    """Return R of each completion, (N,); None where no reward could judge it."""
    return [weighted_sum(row, weights) for row in rewards.tolist()]


def written_before(text: str, whole: str) -> int:
    """Return how many characters of a judged text the prompt wrote, in front of all that the ids decode to."""
    return len(text) - len(whole) if text.endswith(whole) else 0


def per_token(output: dict[str, Any]) -> list[tuple[list[int], list[float]]] | None:
    """Return ids and advantages of each completion's tokens; None if each completion has one advantage (B,)."""
    if output["advantages"].dim() == 1:
        return None
    rows = zip(output["completion_ids"], output["advantages"], output["completion_mask"].bool(), strict=True)
    return [(ids[mask].tolist(), advantages[mask].tolist()) for ids, advantages, mask in rows]
