"""Which rows the optimizer steps of a contender of gpu.py hold: noted, or handed out as another contender holds them.

TRL deals rows to steps at random and ours whole groups, so that gradients of a step are comparable only where one is
given the rows of the other.
"""

from __future__ import annotations

from typing import Any

from gpu_cases import ACCUMULATION
from step_reference import Scored

Row = dict[str, Any]


def watch(trainer: Any, credit: bool) -> None:
    """Note which rows the optimizer steps hold, `trainer.held`, or hand them out as `trainer.wanted` says."""
    prepare, score = trainer._prepare_inputs, trainer._generate_and_score_completions
    trainer.wanted, trainer.held = None, []

    def scored(rows: Any) -> Any:
        output = score(rows)
        if credit:
            output["advantages"] = token_advantages(output)
        trainer.scored = Scored.of(output)
        return output

    def prepared(batch: Any) -> Any:
        before = trainer._buffered_inputs
        found = prepare(batch)
        buffered = trainer._buffered_inputs
        if buffered is before:
            return found
        if trainer.wanted is not None:
            buffered = trainer._buffered_inputs = handed_out(buffered, trainer.scored, trainer.wanted)
        windows = [buffered[first : first + ACCUMULATION] for first in range(0, len(buffered), ACCUMULATION)]
        trainer.held = [[row for one in window for row in trainer.scored.rows_of(one)] for window in windows]
        return trainer._buffered_inputs[trainer._step % trainer.args.steps_per_generation]

    trainer._generate_and_score_completions, trainer._prepare_inputs = scored, prepared


def token_advantages(output: Row) -> Any:
    """Return an advantage for every token (B, T), of rows that have one, the same in every process."""
    import torch

    advantages, ids = output["advantages"], output["completion_ids"]
    drawn = torch.randn(ids.shape, generator=torch.Generator().manual_seed(3)).to(ids.device)
    teaches = advantages != 0 if advantages.dim() == 2 else (advantages != 0).unsqueeze(1)
    return torch.where(teaches, drawn, 0.0)


def handed_out(batches: list[Row], scored: Scored, steps: list[list[int]]) -> list[Row]:
    """Return micro-batches of the same sizes whose optimizer steps hold these rows, and others that cannot teach."""
    import torch

    from gspo_lite.training.loss.rows import cut, joined, rows_of

    pool, size = joined(batches), sum(map(rows_of, batches)) // len(steps)
    named = {row for step in steps for row in step}
    spare = [row for row in range(rows_of(pool)) if row not in named]
    assert not scored.teaching().intersection(spare), "a row that teaches is in no optimizer step"
    order = [row for step in steps for row in [*step, *(spare.pop() for _ in range(size - len(step)))]]
    places = {row: place for place, row in enumerate(scored.rows_of(pool))}
    wanted = torch.tensor([places[row] for row in order]).to(pool["completion_ids"].device)
    parts = wanted.split([rows_of(batch) for batch in batches])
    return [{name: cut(name, value, rows, len(order), None, 0) for name, value in pool.items()} for rows in parts]
