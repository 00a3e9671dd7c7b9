"""Rules for a recipe's supervised warm-up, each with its reason. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from string import Formatter

from gspo_lite.completion.text import find_answer
from gspo_lite.recipe.check import Problem
from gspo_lite.recipe.schema import Recipe


def check_warmup(recipe: Recipe) -> list[Problem]:
    """Return every problem of the warm-up; none where the recipe has no warm-up."""
    return [] if recipe.warmup is None else [*needs_an_adapter(recipe), *teaches_a_form(recipe)]


def needs_an_adapter(recipe: Recipe) -> Iterator[Problem]:
    if recipe.model.full_finetuning:
        yield Problem(("warmup",), "trains the adapter, but full_finetuning has none. Remove one of them")


def teaches_a_form(recipe: Recipe) -> Iterator[Problem]:
    assert recipe.warmup is not None
    completion, place = recipe.warmup.completion, ("warmup", "completion")
    try:
        parts = [(text, name) for text, name, _, _ in Formatter().parse(completion)]
    except ValueError as error:
        yield Problem(place, f"is not text with columns in braces: {error}. Write {{{{ for a brace")
        return
    columns = [name for _, name in parts if name is not None]
    if not columns or not all(name.isidentifier() for name in columns):
        yield Problem(place, "must name at least one column of a row in braces, as in <answer>{answer}</answer>")
    data = recipe.data
    asks = data.prompt != "plain" or data.system_prompt != "auto" or data.marker is not None
    written = "".join(text + (name or "") for text, name in parts)
    if asks and find_answer(written, *data.layout) is None:  # `plain` alone does not ask for a form
        form = data.layout.form("..", "..").strip()
        where = f"data.prompt `{data.prompt}` asks for it" if data.marker is None else "data.marker looks for it"
        yield Problem(place, f"has no answer where {where}, as in `{form}`", "warning")
