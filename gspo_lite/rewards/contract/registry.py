"""The registry of rewards: the decorator `@reward`, and what a recipe's rewards are. Light: no torch, no sympy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, overload

import gspo_lite.rewards
from gspo_lite.completion.text import Layout
from gspo_lite.errors import RecipeError, UsageError, did_you_mean
from gspo_lite.recipe.foreign.rewards import ours
from gspo_lite.recipe.problem import Problem
from gspo_lite.recipe.schema import Recipe, RewardSettings
from gspo_lite.rewards.contract.agreement import disagreements
from gspo_lite.rewards.contract.custom import column_remedy, is_marked, load_custom, needed_columns
from gspo_lite.rewards.contract.guarded import GuardedReward
from gspo_lite.rewards.contract.reward import Accepts, Anywhere, Check, Prepare, Reward, Unusable
from gspo_lite.system.imports import code_problem, is_code, load_code, unknown

REGISTRY: dict[str, Reward] = {}


@overload
def reward(function: Callable[..., Any]) -> Reward: ...
@overload
def reward(
    *,
    check: Check | None = ...,
    prepare: Prepare | None = ...,
    judges: bool = ...,
    anywhere: Anywhere | None = ...,
    accepts: Accepts | None = ...,
    unusable: Unusable | None = ...,
) -> Callable[[Callable[..., Any]], Reward]: ...
def reward(
    function: Callable[..., Any] | None = None,
    *,
    check: Check | None = None,
    prepare: Prepare | None = None,
    judges: bool = False,
    anywhere: Anywhere | None = None,
    accepts: Accepts | None = None,
    unusable: Unusable | None = None,
) -> Any:
    """Make a reward from a function of one completion and register it under the function's name.

    Positional parameters are inputs: `completion` (text), `prompt`, `completion_ids`, or any data column. Keyword-only
    parameters are options of the recipe; annotate them, with pydantic's `Field` for ranges. A function whose input is
    named `completions` gets all completions of a call and every other input as lists, and returns a list.

    A positional parameter with a default is a column that may be missing; one annotated with `OR_OPTION` can also be
    an option, the same for all rows.

    Args:
        check: from a recipe's options, each already valid, returns what is wrong with their combination.
        prepare: called with the options when a run starts; loads what the reward needs, or raises.
        judges: the reward decides correctness: 1.0 is a right completion. The first such reward of a recipe measures
            held-out accuracy and is shown as accuracy during training.
        anywhere: from a completion and its `answer`, whether the right one occurs anywhere, for lenient accuracy.
        accepts: called with each problem when the data is loaded; raises ValueError for one that it can never judge.
        unusable: from an `answer`, why no completion can match it, for the note when the data is loaded.
    """

    def register(function: Callable[..., Any]) -> Reward:
        made = Reward(
            function, None, check, prepare, judges=judges, anywhere=anywhere, accepts=accepts, unusable=unusable
        )
        REGISTRY[made.__name__] = made
        return made

    return register if function is None else register(function)


def registered() -> dict[str, Reward]:
    """Return all rewards by name: those of every file directly in `gspo_lite/rewards`, and those of users."""
    for module in iter_modules(gspo_lite.rewards.__path__, "gspo_lite.rewards."):
        if not module.ispkg:  # folders have no rewards
            import_module(module.name)
    return dict(sorted(REGISTRY.items()))


def get(name: str) -> Reward:
    """Return a registered reward; raise UsageError with the nearest name if there is none."""
    known = registered()
    if name not in known:
        raise UsageError(unknown("reward", name, known), "`gspo-lite rewards list` shows all rewards")
    return known[name]


def check_rewards(recipe: Recipe) -> list[Problem]:
    """Return the problems with a recipe's rewards: unknown names, missing files, invalid options."""
    problems: list[Problem] = []
    for index, settings in enumerate(recipe.rewards):
        name, place = settings.name, ("rewards", index)
        if is_code(name):
            wrong_name = code_problem(name)
            problems += [Problem((*place, "name"), wrong_name)] if wrong_name else []
        elif name not in registered():
            better = ours(name)
            message = (
                f"there is no reward `{name}`; write `{better}`" if better else unknown("reward", name, registered())
            )
            problems.append(Problem((*place, "name"), message))
        else:
            wrong = [Problem((*place, "options"), text) for text in get(name).problems(settings.options)]
            problems += wrong or contradictions(recipe, index)
    return problems


def contradictions(recipe: Recipe, index: int) -> list[Problem]:
    """Return the problems with a reward that looks in another place than the recipe asks for."""
    settings = recipe.rewards[index]
    made = get(settings.name).with_options(recipe.data.layout, **settings.options)
    return disagreements(recipe.data, made, ("rewards", index, "options"))


def problem_checks(settings: Sequence[RewardSettings]) -> list[Accepts]:
    """Return what a recipe's rewards ask of every problem."""
    known = [registered()[one.name] for one in settings if not is_code(one.name)]
    return [one.accepts for one in known if one.accepts is not None]


def build_rewards(settings: Sequence[RewardSettings], layout: Layout | None = None) -> list[GuardedReward]:
    """Return the reward functions of a recipe for TRL's `reward_funcs`; every call is checked against the contract.

    Args:
        layout: of the completions that the prompt asks for. Rewards with the options follow it unless they are set;
            those without a marker use the layout of the first reward that has one.
    """
    rewards = []
    for one in settings:
        held: dict[str, Any] = {"timeout": one.timeout, "on_error": one.on_error}
        if is_code(one.name):
            function, sha256 = load_custom(one.name, one.options, layout)
            held |= {name: getattr(function, name, None) for name in ("layout", "judges")}
            name = one.name.rpartition(":")[2]
            rewards.append(GuardedReward(function, name, one.weight, needed_columns(function), sha256, **held))
        else:
            made = get(one.name).with_options(layout, **one.options)
            if made.prepare is not None:
                made.prepare(**made.values)
            held |= {"layout": made.layout, "judges": made.judges}
            rewards.append(GuardedReward(made, one.name, one.weight, made.columns, **held))
    first = next((made.layout for made in rewards if made.layout), layout)
    for guarded in rewards:
        guarded.layout = guarded.layout or first
    names = [made.__name__ for made in rewards]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise RecipeError([f"`rewards`: two functions have the name `{name}`; rename one" for name in sorted(repeated)])
    return rewards


def layout_read(settings: RewardSettings, layout: Layout) -> Layout | None:
    """Return the layout in which a reward of a recipe looks for the answer, None if it looks nowhere.

    It makes and prepares no reward, so a class of the user's counts as looking nowhere.
    """
    found = load_code(settings.name, "reward").found if is_code(settings.name) else get(settings.name)
    read: Layout | None = found.with_options(layout, **settings.options).layout if is_marked(found) else None
    return read


def check_columns(rewards: Sequence[GuardedReward], columns: Sequence[str]) -> None:
    """Raise UsageError if a reward reads a column that the data does not have."""
    for made in rewards:
        for name in made.columns:
            if name not in columns:
                there = ", ".join(f"`{column}`" for column in columns)
                message = f"reward `{made.__name__}` reads the column `{name}`; the data has {there}"
                raise UsageError(message + did_you_mean(name, columns), column_remedy(made.function, name))
