"""The class of a reward made by `@reward` from a function of a single completion, or of all of a call.

It is TRL-compatible: `f(completions, **columns) -> list[float | None]`, None for what it cannot judge. Must stay light:
no torch, no sympy.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from gspo_lite.completion.markers import PLACES, OwnMarker
from gspo_lite.completion.text import Layout, completion_text
from gspo_lite.errors import RewardError, UsageError, did_you_mean
from gspo_lite.rewards.contract.signature import LIVE

# Inputs that every call provides, unlike columns.
GIVEN = ("completion", "completions", "completion_ids", "prompt", "prompts", *LIVE)
OR_OPTION = "a column, or the option of its name for all rows"  # for `Annotated` at a positional parameter

Anywhere = Callable[[str, Any], "bool | None"]
Unusable = Callable[[Any], "str | None"]
Prepare = Callable[..., None]  # of the options
Accepts = Callable[[dict[str, Any]], None]  # of a problem
Check = Callable[[dict[str, Any]], str | None]  # valid options to what is wrong with their combination


class Reward:
    """A reward made from a function of one completion, or of all `completions`; call it as TRL calls rewards.

    Attributes:
        columns: data columns that it needs.
        optional: data columns that it reads if they exist, with their defaults.
        summary: first line of its docstring.
        options: pydantic model of its keyword options.
        prepare: called with the options when a run starts, before anything is sampled.
        accepts: raises ValueError for a problem that it can never judge.
        layout: of the completions that it reads, by its options `marker` and `thinking`; None without a marker.
        judges: 1.0 means that a completion is right, any other value that it is not.
        anywhere: from a completion and the column `answer`, whether the right answer occurs anywhere in the text.
        unusable: from the column `answer`, why no completion can match it; None if one can.
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
        accepts: Accepts | None = None,
        unusable: Unusable | None = None,
    ):
        parameters = inspect.signature(function).parameters.values()
        hints = get_type_hints(function, include_extras=True)
        self.function, self.check, self.prepare = function, check, prepare
        self.judges, self.anywhere, self.values = judges, anywhere, values or {}
        self.accepts, self.unusable = accepts, unusable
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
        kept = {name: getattr(self, name) for name in ("check", "prepare", "judges", "anywhere", "accepts", "unusable")}
        return Reward(self.function, values, **kept)

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
        rows: dict[str, Any] = {"completion": texts, "completions": texts, "prompt": prompts, "prompts": prompts}
        rows["completion_ids"] = nothing if completion_ids is None else completion_ids
        missing = [name for name in self.columns if name not in columns]
        if missing:
            raise RewardError(f"reward `{self.__name__}` reads the column `{missing[0]}`, which was not passed to it")
        rows |= {name: columns[name] for name in self.columns}
        whole = "completions" in self.inputs
        rows |= {name: columns.get(name) if whole else [columns.get(name)] * len(completions) for name in LIVE}
        rows |= {name: self.column(name, columns, len(completions)) for name in self.optional}
        inputs = [rows[name] for name in self.inputs]
        values = {name: value for name, value in values.items() if name not in rows}
        if whole:
            return cast(list[float | None], self.function(*inputs, **values))
        return [self.function(*row, **values) for row in zip(*inputs, strict=True)]

    def column(self, name: str, columns: dict[str, Any], count: int) -> Sequence[Any]:
        """Return an optional column: the option of that name, else the data, else its default."""
        if self.values.get(name) is None and name in columns:
            return cast(Sequence[Any], columns[name])
        return [self.optional[name]] * count
