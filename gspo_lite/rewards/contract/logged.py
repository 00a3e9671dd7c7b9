"""What a reward logs with TRL's `log_extra` and `log_metric`, and the state it reads where no trainer runs.

Owns how much of it is kept: values may be texts of a model. Must not know files or reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LONGEST = 500  # characters of a value
MOST_COLUMNS = 16  # of one call
Columns = dict[str, list[Any]]


@dataclass
class TrainingState:
    """Stands in for the trainer's `TrainerState`: before the first step, unless a recorded step is judged again."""

    global_step: int = 0
    max_steps: int = 1
    epoch: float = 0.0
    num_train_epochs: int = 1
    is_world_process_zero: bool = True
    is_local_process_zero: bool = True
    log_history: list[dict[str, float]] = field(default_factory=list)


class Logged:
    """What one call of a reward logs. TRL hears of it after the call, so that a failed one leaves nothing behind."""

    def __init__(self) -> None:
        self.columns: Columns = {}
        self.metrics: dict[str, list[float]] = {}

    def log_extra(self, column: str, values: Iterable[Any]) -> None:
        """Add values of a column of the completions, in all one for each completion."""
        self.columns.setdefault(str(column), []).extend(values)

    def log_metric(self, name: str, value: Any) -> None:
        """Add a value of a metric."""
        self.metrics.setdefault(str(name), []).append(float(value))

    def arguments(self) -> dict[str, Callable[..., None]]:
        """Return the arguments by which a reward logs."""
        return {"log_extra": self.log_extra, "log_metric": self.log_metric}

    def misfits(self, count: int) -> dict[str, int]:
        """Return the number of values of each column that does not have one for each of `count` completions."""
        return {name: len(values) for name, values in self.columns.items() if len(values) != count}

    def fitting(self, count: int) -> Logged:
        """Return the same without such columns."""
        kept = Logged()
        kept.columns = {name: values for name, values in self.columns.items() if len(values) == count}
        kept.metrics = self.metrics
        return kept

    def spread(self, rows: Sequence[int], count: int) -> Logged:
        """Return what was logged about some rows of a call as columns of all its `count` rows."""
        whole = Logged()
        for name, values in self.columns.items():
            known = dict(zip(rows, values, strict=False))
            whole.columns[name] = [known.get(row) for row in range(count)]
        whole.metrics = self.metrics
        return whole

    def pass_on(self, trainer: Mapping[str, Any]) -> None:
        """Tell the trainer, if its `log_extra` and `log_metric` are among a call's arguments."""
        for name, values in self.columns.items() if "log_extra" in trainer else ():
            trainer["log_extra"](name, values)
        for name, values in self.metrics.items() if "log_metric" in trainer else ():
            for value in values:
                trainer["log_metric"](name, value)

    def shown(self) -> Columns:
        """Return the columns as plain values of limited size."""
        some = list(self.columns.items())[:MOST_COLUMNS]
        return {plain_text(name): [plain(value) for value in values] for name, values in some}


def plain(value: Any) -> Any:
    """Return a number, a truth value or None as it is, anything else as text."""
    value = value.item() if getattr(value, "shape", None) == () else value
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    try:
        return plain_text(str(value))
    except Exception:  # of the user's class, or a number of too many digits
        return f"a {type(value).__name__}"


def plain_text(text: str) -> str:
    """Return a text cut to `LONGEST` characters and without halves of characters, which no file can hold."""
    whole = text[:LONGEST].encode("utf-8", "replace").decode("utf-8")
    return whole if len(text) <= LONGEST else f"{whole} ... ({len(text) - LONGEST} characters more)"
