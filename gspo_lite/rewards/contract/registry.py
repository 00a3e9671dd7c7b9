"""The registry of rewards, and the class of a registered reward.

A reward is TRL-compatible: `f(completions, **columns) -> list[float | None]`, None for what it cannot judge. `@reward`
makes one from a function of a single completion. Must stay light: no torch, no sympy.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, cast, get_args, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

import gspo_lite.rewards
from gspo_lite.completion.markers import PLACES, OwnMarker
from gspo_lite.completion.text import Layout, completion_text
from gspo_lite.errors import RecipeError, RewardError, UsageError, did_you_mean
from gspo_lite.recipe.check import Problem
from gspo_lite.recipe.schema import Recipe, RewardSettings
from gspo_lite.rewards.contract.agreement import disagreements
from gspo_lite.rewards.contract.custom import load_custom, needed_columns
from gspo_lite.rewards.contract.guarded import GuardedReward
from gspo_lite.system.imports import code_problem, is_code, unknown

# Inputs that every call provides, unlike columns.
GIVEN = ("completion", "completions", "completion_ids", "prompt", "prompts")
OR_OPTION = "a column, or the option of its name for all rows"  # for `Annotated` at a positional parameter
REGISTRY: dict[str, Reward] = {}

Anywhere = Callable[[str, Any], "bool | None"]
Prepare = Callable[..., None]  # of the options
Check = Callable[[dict[str, Any]], str | None]  # valid options to what is wrong with their combination


class Reward:
    """A reward made from a function of one completion, or of all `completions`; call it as TRL calls rewards.

    Attributes:
        columns: data columns that it needs.
        optional: data columns that it reads if they exist, with their defaults.
        summary: first line of its docstring.
        options: pydantic model of its keyword options.
        prepare: called with the options when a run starts, before anything is sampled.
        layout: of the completions that it reads, by its options `marker` and `thinking`; None without a marker.
        judges: 1.0 means that a completion is right, any other value that it is not.
        anywhere: from a completion and the column `answer`, whether the right answer occurs anywhere in the text.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        values: dict[str, Any] | None = None,
        check: Check | None = None,
        prepare: Prepare | None = None,
        *,
        judges: bool = False,
        anywhere: Anywhere | None = None,
    ):
        parameters = inspect.signature(function).parameters.values()
        hints = get_type_hints(function, include_extras=True)
        self.function, self.check, self.prepare = function, check, prepare
        self.judges, self.anywhere, self.values = judges, anywhere, values or {}
        self.__name__ = function.__name__
        self.__doc__ = inspect.cleandoc(function.__doc__ or "")
        self.summary = self.__doc__.split("\n")[0]
        self.inputs = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.optional = {p.name: p.default for p in parameters if p.name in self.inputs and p.default is not p.empty}
        or_option = [name for name in self.inputs if OR_OPTION in getattr(hints.get(name), "__metadata__", ())]
        self.optional |= {name: self.values[name] for name in or_option if self.values.get(name) is not None}
        self.columns = [name for name in self.inputs if name not in GIVEN and name not in self.optional]
        fields: dict[str, Any] = {
            p.name: (hints[p.name], ... if p.default is p.empty else p.default)
            for p in parameters
            if p.kind is p.KEYWORD_ONLY
        }
        fields |= {name: (hints[name] | None, None) for name in or_option}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Field name .* shadows")  # `schema` is a good name for an option
            self.options: type[BaseModel] = create_model(
                self.__name__, __config__=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False), **fields
            )
        marker = self.values.get("marker", fields.get("marker", (None, None))[1])
        known = isinstance(marker, OwnMarker) or marker in PLACES
        self.layout = Layout(marker, self.values.get("thinking", "think")) if known else None

    def with_options(self, layout: Layout | None = None, /, **options: Any) -> Reward:
        """Return the reward with these options; raise UsageError for an unknown or invalid one.

        A `marker`, `thinking` or `answer_tags` that is left out is the recipe's, if the reward allows it.
        """
        options = {**self.followed(layout), **options}
        problems = self.problems(options)
        if problems:
            raise UsageError(f"reward `{self.__name__}`: {'; '.join(problems)}")
        values = dict(self.options(**options))
        return Reward(self.function, values, self.check, self.prepare, judges=self.judges, anywhere=self.anywhere)

    def followed(self, layout: Layout | None) -> dict[str, Any]:
        """Return the options that follow a recipe's layout: those which list its value among the allowed ones."""
        if layout is None:
            return {}
        given = {"marker": layout.marker, "thinking": layout.thinking, "answer_tags": layout.answer_tags}
        fields = self.options.model_fields
        listed = {name: value for name, value in given.items() if name in fields and get_args(fields[name].annotation)}
        return {name: value for name, value in listed.items() if not self.refuses(name, value)}

    def refuses(self, name: str, value: Any) -> bool:
        """Return whether an option cannot have this value."""
        try:
            self.options(**{name: value})
        except ValidationError as error:
            return any(problem["loc"][0] == name for problem in error.errors())
        return False

    def problems(self, options: dict[str, Any]) -> list[str]:
        """Return what is wrong with these options, one line each."""
        try:
            values = dict(self.options(**options))
        except ValidationError as error:
            known = ", ".join(self.options.model_fields) or "none"
            lines = []
            for e in error.errors():
                unknown_name = e["type"] == "extra_forbidden"
                message = e["msg"].removeprefix("Value error, ")  # of a rule of our own
                text = f"unknown; allowed: {known}" if unknown_name else f"{message}, got `{e['input']}`"
                names = re.findall(r"'(\w+)'", str(e.get("ctx", {}).get("expected", "")))
                place = ".".join(part for part in map(str, e["loc"]) if not part.startswith("["))
                lines.append(f"option `{place}`: {text}{did_you_mean(str(e['input']), names)}")
            return lines
        together = self.check(values) if self.check else None
        return [together] if together else []

    def __call__(
        self,
        completions: Sequence[Any],
        prompts: Sequence[Any] | None = None,
        completion_ids: Sequence[Any] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        values = self.values or self.with_options().values
        nothing = [None] * len(completions)
        texts = [completion_text(completion, values.get("thinking", "think")) for completion in completions]
        prompts = nothing if prompts is None else prompts
        rows = {"completion": texts, "completions": texts, "prompt": prompts, "prompts": prompts}
        rows["completion_ids"] = nothing if completion_ids is None else completion_ids
        missing = [name for name in self.columns if name not in columns]
        if missing:
            raise RewardError(f"reward `{self.__name__}` reads the column `{missing[0]}`, which was not passed to it")
        rows |= {name: columns[name] for name in self.columns}
        rows |= {name: self.column(name, columns, len(completions)) for name in self.optional}
        inputs = [rows[name] for name in self.inputs]
        values = {name: value for name, value in values.items() if name not in rows}
        if "completions" in self.inputs:
            return cast(list[float | None], self.function(*inputs, **values))
        return [self.function(*row, **values) for row in zip(*inputs, strict=True)]

    def column(self, name: str, columns: dict[str, Any], count: int) -> Sequence[Any]:
        """Return an optional column: the option of that name, else the data, else its default."""
        if self.values.get(name) is None and name in columns:
            return cast(Sequence[Any], columns[name])
        return [self.optional[name]] * count


@overload
def reward(function: Callable[..., Any]) -> Reward: ...
@overload
def reward(
    *, check: Check | None = ..., prepare: Prepare | None = ..., judges: bool = ..., anywhere: Anywhere | None = ...
) -> Callable[[Callable[..., Any]], Reward]: ...
def reward(
    function: Callable[..., Any] | None = None,
    *,
    check: Check | None = None,
    prepare: Prepare | None = None,
    judges: bool = False,
    anywhere: Anywhere | None = None,
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
    """

    def register(function: Callable[..., Any]) -> Reward:
        made = Reward(function, check=check, prepare=prepare, judges=judges, anywhere=anywhere)
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
            problems.append(Problem((*place, "name"), unknown("reward", name, registered())))
        else:
            wrong = [Problem((*place, "options"), text) for text in get(name).problems(settings.options)]
            problems += wrong or contradictions(recipe, index)
    return problems


def contradictions(recipe: Recipe, index: int) -> list[Problem]:
    """Return the problems with a reward that looks in another place than the recipe asks for."""
    settings = recipe.rewards[index]
    made = get(settings.name).with_options(recipe.data.layout, **settings.options)
    return disagreements(recipe.data, made, ("rewards", index, "options"))


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


def check_columns(rewards: Sequence[GuardedReward], columns: Sequence[str]) -> None:
    """Raise UsageError if a reward reads a column that the data does not have."""
    for made in rewards:
        for name in made.columns:
            if name not in columns:
                there = ", ".join(f"`{column}`" for column in columns)
                message = f"reward `{made.__name__}` reads the column `{name}`; the data has {there}"
                raise UsageError(message + did_you_mean(name, columns))
