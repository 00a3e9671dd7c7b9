"""Episodes for a page: what the model wrote turn by turn, its calls, and what tools answered.

Every text here is hostile until the template has escaped it. Owns how much of an episode is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gspo_lite.report.visible import clean, shade_of, visible
from gspo_lite.tools.shown import END_WORDS, call_text

MOST_MESSAGES = 16  # of an episode; the middle of a longer one is left out
MOST_CALLS = 8  # of a message
RESULT, CALL = 500, 300  # characters of a result and of a call


def episode(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a row's episode as a page shows them; none for a row without turns.

    Each has `title`, `about`, `text`, `calls`, `shade` by its advantage, and `failed`, a word on a call that went
    wrong; one with `left_out` stands for so many messages that are not shown.
    """
    found = list(messages(row.get("turns") or []))
    more = len(found) - MOST_MESSAGES
    if more <= 0:
        return found
    half = MOST_MESSAGES // 2
    return [*found[:half], {"left_out": more}, *found[-half:]]


def messages(turns: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield every message of an episode as a page shows it."""
    most = max((abs(one.get("advantage") or 0.0) for one in turns), default=0.0)
    number = 0
    for one in turns:
        if one["role"] == "tool":
            title, failed = f"from {clean(one['name'])}", END_WORDS.get(one.get("end", ""), "")
            yield {"own": False, "title": title, "failed": failed, "text": visible(one["content"], RESULT)}
            continue
        number += 1
        shade = shade_of(one.get("advantage") or 0.0, most)
        calls = [visible(call_text(call), CALL) for call in one.get("calls", ())]
        calls[MOST_CALLS:] = [f"and {len(calls) - MOST_CALLS} more calls"] if len(calls) > MOST_CALLS else []
        written = visible(one["content"] or "")
        yield {
            "own": True, "title": f"turn {number}", "about": about(one), "text": written, "calls": calls, "shade": shade
        }  # fmt: skip


def about(turn: Mapping[str, Any]) -> str:
    """Return advantage and rewards of one turn, where it has any: `advantage +0.50; solved 1.00`."""
    advantage, rewards = turn.get("advantage"), turn.get("rewards") or {}
    parts = [] if advantage is None else [f"advantage {advantage:+.2f}"]
    valued = [f"{clean(name)} {value:.2f}" for name, value in rewards.items() if value is not None]
    return "; ".join([*parts, *([", ".join(valued)] if valued else [])])


def episode_texts(row: Mapping[str, Any]) -> list[str]:
    """Return the texts of a row's episode that take room on a page."""
    shown = episode(row)
    return [text for one in shown if "text" in one for text in (one["text"], *one.get("calls", ()))]


def names_of_tools(recipe: Mapping[str, Any]) -> list[str]:
    """Return the names of a recipe's tools, and of its environments: `look_up`, `Wordle`."""
    tools = [one if isinstance(one, str) else one["name"] for one in recipe.get("tools") or []]
    given = recipe.get("environment") or {}
    environments = list(given.values()) if isinstance(given, Mapping) else [given]
    return [name.rpartition(":")[2] for name in (*tools, *environments)]
