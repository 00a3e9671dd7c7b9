"""Tools and environments. What the model says is scripted, because a random model calls no tool."""

from __future__ import annotations

import json
from typing import Any

from tests.training.trl_behaviours import parts
from tests.training.trl_behaviours.behaviour import Behaviour, trained

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


def fail(why: str) -> str:
    """
    Fail.

    Args:
        why: The reason.

    Returns:
        Nothing.
    """
    raise KeyError(why)


def look_up(word: str) -> list[str]:
    """
    Look a word up.

    Args:
        word: The word.

    Returns:
        Its entries.
    """
    return [word, "entry"]


class Counter:
    """An environment that counts up."""

    made = 0

    def __init__(self) -> None:
        self.total = 0
        type(self).made += 1

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


def saying(*lines: str, again: bool = False) -> Any:
    """Train a model that says these lines in turn, and `Done.` after a tool, or a line `again`; what was called."""

    def act(trainer: Any) -> Any:
        tokenizer = trainer.processing_class

        def single_turn(prompt_ids: Any, *_: Any, **__: Any) -> Any:
            after_tool = ["<tool_response>" in tokenizer.decode(ids) for ids in prompt_ids]
            said = [
                f"Done {place}.<|im_end|>" if after and not again else lines[place % len(lines)]
                for place, after in enumerate(after_tool)
            ]
            return [tokenizer(one)["input_ids"] for one in said], None

        CALLS.clear()
        trainer._generate_single_turn = single_turn
        trainer.train()
        return list(CALLS)

    return act


def masks(*lines: str) -> Any:
    """Train a model that says these lines; how many tokens of each completion the model wrote itself."""

    def act(trainer: Any) -> Any:
        found: list[Any] = []
        score = trainer._generate_and_score_completions

        def noted(inputs: Any) -> Any:
            output = score(inputs)
            found.append(output["tool_mask"].sum(1).tolist())
            return output

        trainer._generate_and_score_completions = noted
        saying(*lines)(trainer)
        return found

    return act


def weights(trainer: Any) -> Any:
    """The names of the rewards and their weights."""
    saying(call("count", by=2), "No.<|im_end|>")(trainer)
    return trainer.reward_func_names, trainer.reward_weights.tolist()


def made_of(kind: Any) -> Any:
    """How many environments of a kind a run makes."""

    def act(trainer: Any) -> int:
        before = kind.made
        saying(call("count", by=2), "No.<|im_end|>")(trainer)
        return int(kind.made - before)

    return act


def rolled(prompts: Any, trainer: Any) -> dict[str, Any]:
    """A rollout of one's own, in which every third token is another's."""
    tokenizer = trainer.processing_class
    texts = [tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in prompts]
    said = [tokenizer(f"It is {place}, so.<|im_end|>")["input_ids"] for place, _ in enumerate(prompts)]
    mask = [[int(place % 3 != 2) for place, _ in enumerate(ids)] for ids in said]
    return {"prompt_ids": tokenizer(texts)["input_ids"], "completion_ids": said, "logprobs": None, "env_mask": mask}


def with_tools(*tools: Any) -> Any:
    return lambda: {"tools": list(tools)}


def environment(factory: Any, **options: Any) -> Any:
    return lambda: {"environment_factory": factory, **options}


def row(name: str, act: Any = None, **options: Any) -> Behaviour:
    """A behaviour of a model that calls tools."""
    act = act or saying(call("count", by=2), call("count", by=5), "No.<|im_end|>")
    usual = {"settings": ROOM, "model": model, "rows": asked, "rewards": lambda: turns}
    return Behaviour(name, **{**usual, "act": act, **options})


TOOLS = [
    row("tools", saying(call("add", a=3, b=4), call("add", a=4, b=4), "No.<|im_end|>"), options=with_tools(add)),
    row("the mask of what tools wrote", masks(call("add", a=3, b=4), "No.<|im_end|>"), options=with_tools(add)),
    row(
        "a tool that raises, and arguments it does not take",
        saying(call("fail", why="so"), call("fail", who="so"), "No.<|im_end|>"),
        options=with_tools(fail),
        unlike=("training",),
        reason="A model is told the type of an error, too, without which `KeyError` says only `'so'`.",
    ),
    row(
        "a tool that returns a list",
        saying(call("look_up", word="so"), "No.<|im_end|>"),
        options=with_tools(look_up),
        unlike=("training",),
        reason="A list that holds no content blocks is told as text; chat templates drop it or fail.",
    ),
    row("a call that is no JSON", saying(call("add", a=3)[:-20], "No.<|im_end|>"), options=with_tools(add)),
    row(
        "`max_tool_calling_iterations`",
        saying(call("add", a=3, b=4), "No.<|im_end|>", again=True),
        settings={**ROOM, "max_tool_calling_iterations": 2},
        options=with_tools(add),
    ),
    row("`rollout_func` with an `env_mask`", trained, options=lambda: {"rollout_func": rolled}),
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
    row("the weight of what an environment pays", weights, options=environment(Judging)),
    row("environments that are made once and reset often", made_of(Judging), options=environment(Judging)),
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
