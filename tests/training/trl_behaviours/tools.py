"""Tools and environments. What the model says is scripted, because a random model calls no tool."""

from __future__ import annotations

import json
from typing import Any

from tests.training.trl_behaviours import parts
from tests.training.trl_behaviours.behaviour import Behaviour

CALLS: list[Any] = []
ROOM = {"max_completion_length": 400}


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call><|im_end|>"


def add(a: int, b: int) -> int:
    """
    Add two numbers.

    Args:
        a: The first number.
        b: The second number.

    Returns:
        The sum.
    """
    CALLS.append((a, b))
    return a + b


async def add_later(a: int, b: int) -> int:
    """
    Add two numbers.

    Args:
        a: The first number.
        b: The second number.

    Returns:
        The sum.
    """
    return add(a, b)


class Counter:
    """An environment that counts up."""

    def __init__(self) -> None:
        self.total = 0

    def reset(self, **row: Any) -> str:
        self.total = 0
        return " Begin."

    def count(self, by: int) -> int:
        """
        Count on.

        Args:
            by: How far.

        Returns:
            The total.
        """
        self.total += by
        return self.total


class Judging(Counter):
    """The same, with a reward of its own."""

    def get_reward(self) -> float:
        return float(self.total)


class Endless:
    """No environment: it cannot be reset."""

    def count(self, by: int) -> int:
        """
        Count on.

        Args:
            by: How far.

        Returns:
            The total.
        """
        return by


def model() -> dict[str, Any]:
    return {"model": str(parts.folder(letters=True, max_position_embeddings=4096))}


def asked() -> Any:
    return parts.rows_of([[{"role": "user", "content": f"Say {index}."}] for index in range(6)])


def routed() -> Any:
    return asked().add_column("environment", ["plain", "judging"] * 3)


def turns(completions: Any, **columns: Any) -> list[float]:
    """Reward many messages and short ones."""
    return [len(one) + 1 / (1 + len(str(one[-1]["content"]))) for one in completions]


def totals(completions: Any, environments: Any, **columns: Any) -> list[float]:
    return [float(one.total) for one in environments]


def saying(*lines: str) -> Any:
    """Train a model that says these lines in turn, and `Done.` after a tool; what was called."""

    def act(trainer: Any) -> Any:
        tokenizer = trainer.processing_class

        def single_turn(prompt_ids: Any, *_: Any, **__: Any) -> Any:
            after_tool = ["<tool_response>" in tokenizer.decode(ids) for ids in prompt_ids]
            said = [
                f"Done {place}.<|im_end|>" if after else lines[place % len(lines)]
                for place, after in enumerate(after_tool)
            ]
            return [tokenizer(one)["input_ids"] for one in said], None

        CALLS.clear()
        trainer._generate_single_turn = single_turn
        trainer.train()
        return list(CALLS)

    return act


def with_tools(*tools: Any) -> Any:
    return lambda: {"tools": list(tools)}


def environment(factory: Any, **options: Any) -> Any:
    return lambda: {"environment_factory": factory, **options}


def row(name: str, act: Any = None, **options: Any) -> Behaviour:
    """A behaviour of a model that calls tools."""
    act = act or saying(call("count", by=2), call("count", by=5), "No.<|im_end|>")
    return Behaviour(name, ROOM, **{"model": model, "rows": asked, "rewards": lambda: turns, "act": act, **options})


TOOLS = [
    row("tools", saying(call("add", a=3, b=4), call("add", a=3, c=4), "No.<|im_end|>"), options=with_tools(add)),
    row("async tools", saying(call("add_later", a=3, b=4), "No.<|im_end|>"), options=with_tools(add_later)),
    row("a tool that does not exist", saying(call("other", a=3), "No.<|im_end|>"), options=with_tools(add)),
    row("a model that calls no tool", saying("Yes.<|im_end|>", "No, never.<|im_end|>"), options=with_tools(add)),
    row(
        "`environment_factory` and a reward that sees environments",
        rewards=lambda: totals,
        options=environment(Counter),
    ),
    row("`environment_factory` with a reward of its own", rewards=lambda: None, options=environment(Judging)),
    row("`environment_factory` with a reward of its own and another", options=environment(Judging)),
    row(
        "`environment_factory` without any reward",
        rewards=lambda: None,
        options=environment(Counter),
        raises="ValueError",
    ),
    row("`environment_factory` without data", rows=lambda: None, options=environment(Judging)),
    row("several environments by name", rows=routed, options=environment({"plain": Counter, "judging": Judging})),
    row(
        "several environments without data",
        rows=lambda: None,
        options=environment({"plain": Counter}),
        raises="ValueError",
    ),
    row("an environment without `reset`", options=environment(Endless), raises="ValueError"),
    Behaviour("tools with a template that knows none", rows=parts.chats, options=with_tools(add), raises="ValueError"),
]
