"""Runs TRL's tool loop with every episode's tools under limits, and keeps what was called.

TRL builds the tools of each row anew or once, by version, and calls them from `_tool_call_loop`. They are replaced just
for `_generate`, so that tools and environments reach TRL as their user wrote them. Must not know how a tool is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gspo_lite.credit import turn_numbers
from gspo_lite.tools.guarded import Episode, Limits, figures_of

TOOL_MASK = 2  # place in what `_generate` returns


class Episodes:
    """Mixin in front of the trainer; `episodes` are those of the last rollout, one for each of its rows."""

    # of the trainer
    tools: list[Any]
    environments: list[Any] | None
    model: Any
    _sync_tool_dicts: list[dict[str, Any]]
    _async_tool_dicts: list[dict[str, Any]]
    _metrics: dict[str, Any]

    tool_limits: Limits = Limits()
    episodes: list[Episode] = []  # noqa: RUF012, replaced and never changed

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        if not self.tools:
            return super()._generate(*args, **kwargs)  # type: ignore[misc]
        with self._held_tools() as episodes:
            output = super()._generate(*args, **kwargs)  # type: ignore[misc]
        self.episodes = episodes
        for name, value in {**figures_of(episodes), **figures_of_tokens(output[TOOL_MASK])}.items():
            self._metrics["train" if self.model.training else "eval"][name].append(value)
        self._drop_late_environments()
        return output

    @contextmanager
    def _held_tools(self) -> Iterator[list[Episode]]:
        """Replace the tools of each row by held ones; async ones become sync, so that no call can block the loop."""
        free = self._sync_tool_dicts, self._async_tool_dicts
        episodes = [Episode(self.tool_limits) for _ in free[0]]
        pairs = zip(*free, strict=True)
        self._sync_tool_dicts = [one.held({**a, **b}) for one, (a, b) in zip(episodes, pairs, strict=True)]
        self._async_tool_dicts = [{} for _ in episodes]
        try:
            yield episodes
        finally:
            self._sync_tool_dicts, self._async_tool_dicts = free

    def _drop_late_environments(self) -> None:
        """Use no environment again in which a call may still be running; TRL makes new ones where its pool has none."""
        late = {
            id(one) for one, episode in zip(self.environments or [], self.episodes, strict=False) if episode.is_late
        }
        for pool in getattr(self, "_environment_pool", {}).values():
            pool[:] = [one for one in pool if id(one) not in late]


def figures_of_tokens(tool_masks: Sequence[Sequence[int]]) -> dict[str, float]:
    """Return the metrics of a rollout's tokens: turns, tokens of the model and of tools, each a mean per episode.

    Args:
        tool_masks: 1 at each token that the model wrote, 0 at one that a tool did, for each episode.
    """
    count, own = max(len(tool_masks), 1), [sum(mask) for mask in tool_masks]
    return {
        "turns/mean": sum(max(turn_numbers([*map(bool, mask)]), default=0) for mask in tool_masks) / count,
        "tokens/own": sum(own) / count,
        "tokens/foreign": sum(map(len, tool_masks)) / count - sum(own) / count,
    }
