"""Rules for a recipe's supervised warm-up, each with its reason. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator

from gspo_lite.completion.text import find_answer
from gspo_lite.recipe.problem import Problem
from gspo_lite.recipe.schema import Recipe
from gspo_lite.recipe.template import pieces, template_problem


def check_warmup(recipe: Recipe) -> list[Problem]:
    """Return every problem of the warm-up; none where the recipe has no warm-up."""
    return [] if recipe.warmup is None else [*needs_an_adapter(recipe), *teaches_a_form(recipe)]


def needs_an_adapter(recipe: Recipe) -> Iterator[Problem]:
    if recipe.model.full_finetuning:
        yield Problem(("warmup",), "trains the adapter, but full_finetuning has none. Remove one of them")


def teaches_a_form(recipe: Recipe) -> Iterator[Problem]:
    assert recipe.warmup is not None
    completion, place = recipe.warmup.completion, ("warmup", "completion")
    wrong = template_problem(completion, "<answer>{answer}</answer>")
    if wrong:
        yield Problem(place, wrong)
        return
    data = recipe.data
    asks = data.prompt != "plain" or data.system_prompt != "auto" or data.marker is not None
    written = "".join(text + (name or "") for text, name in pieces(completion))
    if asks and find_answer(written, *data.layout) is None:  # `plain` alone does not ask for a form
        form = data.layout.form("..", "..").strip()
        where = f"data.prompt `{data.prompt}` asks for it" if data.marker is None else "data.marker looks for it"
        yield Problem(place, f"has no answer where {where}, as in `{form}`", "warning")
