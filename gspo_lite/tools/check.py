"""Checks the tools and environments of a recipe without running their files. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator

from gspo_lite.recipe.problem import Problem
from gspo_lite.recipe.schema import Recipe
from gspo_lite.recipe.tool_settings import environment_place
from gspo_lite.tools.definition import environment_problems, methods_of, pays, tool_problems


def check_tools(recipe: Recipe) -> list[Problem]:
    """Return the problems with a recipe's tools and environments, as far as their files show them."""
    return [*of_tools(recipe), *of_environments(recipe), *of_names(recipe)]


def of_tools(recipe: Recipe) -> Iterator[Problem]:
    """Yield what keeps functions from being tools."""
    for index, tool in enumerate(recipe.tools):
        for text in tool_problems(tool.name):
            yield Problem(("tools", index, "name"), text)


def of_environments(recipe: Recipe) -> Iterator[Problem]:
    """Yield what keeps classes from being environments, and the lack of anything that pays."""
    for name, code in recipe.environments.items():
        for text in environment_problems(code):
            yield Problem(environment_place(name), text)
    unpaid = [code for code in recipe.environments.values() if pays(code) is False]
    if unpaid and not any(reward.weight for reward in recipe.rewards):
        message = f"`{unpaid[0]}` does not pay: give it a method `get_reward(self)`, or the recipe a reward"
        yield Problem(("rewards",), message)


def of_names(recipe: Recipe) -> Iterator[Problem]:
    """Yield names that a model, or metrics.jsonl, could not tell apart."""
    taken: dict[str, str] = {}
    for index, tool in enumerate(recipe.tools):
        name = called(tool.name)
        if name in taken:
            yield Problem(("tools", index, "name"), f"`{taken[name]}` has the name `{name}` as well; rename one")
        taken.setdefault(name, tool.name)
    rewards = {called(reward.name) for reward in recipe.rewards}
    for key, code in recipe.environments.items():
        for method in methods_of(code):
            if method in taken:
                text = f"`{code}` has a method `{method}`, and `{taken[method]}` is a tool of that name; rename one"
                yield Problem(environment_place(key), text)
        if called(code) in rewards:
            message = f"what `{called(code)}` pays is logged by its name, which a reward has as well; rename one"
            yield Problem(environment_place(key), message)


def called(code: str) -> str:
    """Return the last name of `file.py:a.b`, by which it is called and logged."""
    return code.rpartition(":")[2].rpartition(".")[2]
