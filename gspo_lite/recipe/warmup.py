"""Rules of a recipe's supervised warm-up, each with its reason. No heavy import: nothing here takes time."""

from __future__ import annotations

from collections.abc import Iterator
from string import Formatter

from gspo_lite.recipe.check import Problem
from gspo_lite.recipe.schema import Recipe

FORMS = {"think_answer": "</answer>", "boxed": "\\boxed", "plain": ""}  # what each prompt style asks for


def check_warmup(recipe: Recipe) -> list[Problem]:
    """Every problem of the warm-up; none where the recipe has no warm-up."""
    return [] if recipe.warmup is None else [*needs_an_adapter(recipe), *teaches_a_form(recipe)]


def needs_an_adapter(recipe: Recipe) -> Iterator[Problem]:
    if recipe.model.full_finetuning:
        yield Problem(("warmup",), "trains the adapter, and full_finetuning has none. Leave one of them out")


def teaches_a_form(recipe: Recipe) -> Iterator[Problem]:
    assert recipe.warmup is not None
    completion, place = recipe.warmup.completion, ("warmup", "completion")
    try:
        columns = [name for _, name, _, _ in Formatter().parse(completion) if name is not None]
    except ValueError as error:
        yield Problem(place, f"is no text with columns in braces: {error}. Write {{{{ for a brace")
        return
    if not columns or not all(name.isidentifier() for name in columns):
        yield Problem(place, "must name columns of a row in braces, at least one, as in <answer>{answer}</answer>")
    form = FORMS[recipe.data.prompt]
    if form not in completion:
        yield Problem(place, f"has no `{form}`, which data.prompt `{recipe.data.prompt}` asks for", "warning")
