"""Rewards for JSON: whether it is valid, and whether it fits a JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from gspo_lite.completion.markers import OwnMarker, place_of
from gspo_lite.completion.text import find_answer, text_at
from gspo_lite.completion.thinking import Thinking
from gspo_lite.rewards.contract.registry import reward
from gspo_lite.rewards.contract.reward import OR_OPTION
from gspo_lite.rewards.grading.json_schema import fits_all, read_schema, schema_problem

Place = Literal["tag", "fence", "text"] | OwnMarker

MAX_JSON = 100_000  # characters
MAX_DEPTH = 64  # nested arrays and objects
MAX_INTEGER = 300  # digits; a longer integer does not fit a float
MISSING = object()  # None is a JSON value
SHAPES = {"object": dict, "array": list, "any": object}


@reward
def json_valid(
    completion: str,
    *,
    marker: Place = "tag",
    shape: Literal["object", "array", "any"] = "object",
    thinking: Thinking = "think",
) -> float:
    """Return 1.0 if the final answer is valid JSON (RFC 8259), else 0.0.

    `marker` says where it is: `tag` for <answer>..</answer>, `fence` for the last ```json block, `text` for everything
    after the thinking; a block inside the tag is read too. With `shape: any` a bare number or string is accepted. NaN,
    infinities, and more than 100,000 characters or 64 levels are not.

        <answer>{"a": [1, 2]}</answer>      1.0
        <answer>{'a': 1}</answer>           0.0
    """
    value = json_answer(completion, marker, thinking)
    return float(value is not MISSING and isinstance(value, SHAPES[shape]))


def bad_schema(options: dict[str, Any]) -> str | None:
    """Return why the option `schema` cannot be used; None if it can or is not given."""
    problem = None if options["schema"] is None else schema_problem(options["schema"])
    return f"option `schema`: {problem}" if problem else None


@reward(check=bad_schema, judges=True)
def json_schema(
    completions: Sequence[str],
    schema: Annotated[Sequence[Any] | dict[str, Any], OR_OPTION],
    *,
    marker: Place = "tag",
    thinking: Thinking = "think",
) -> list[float | None]:
    """Return 1.0 if the final answer is JSON that fits a JSON Schema, else 0.0.

    The schema is the option `schema` for all rows, or the column `schema` (a mapping, or JSON text, which keeps its
    keys in any table). `$ref` may only point into the schema itself; `format` is not checked. `marker` and the limits
    are those of `json_valid`. The value is None if a row has no schema.

        <answer>{"age": 7}</answer> with {"properties": {"age": {"type": "integer"}}}       1.0
        <answer>{"age": "7"}</answer> with the same schema                                  0.0
    """
    schemas = [None if row is None or row == "" else read_schema(row) for row in schema]
    answers = [json_answer(completion, marker, thinking) for completion in completions]
    checked = [i for i, answer in enumerate(answers) if answer is not MISSING and schemas[i] is not None]
    values: list[float | None] = [None if one is None else 0.0 for one in schemas]
    for row, fits in zip(checked, fits_all([(str(schemas[i]), answers[i]) for i in checked]), strict=True):
        values[row] = None if fits is None else float(fits)
    return values


def json_answer(completion: str, marker: Place, thinking: Thinking) -> Any:
    """Return the JSON value of a completion's answer; MISSING if it has no valid one."""
    found = find_answer(completion, marker, thinking)
    if marker != "fence" and found is not None and found.startswith("```"):
        found = text_at(found, place_of("fence").spans(found))
    return MISSING if found is None else json_value(found)


def json_value(text: str) -> Any:
    """Return the value of a JSON text within the limits; MISSING for any other text."""
    if len(text) > MAX_JSON:
        return MISSING
    try:
        value = json.loads(text, parse_constant=refused, parse_float=finite, parse_int=short)
    except (ValueError, RecursionError):
        return MISSING
    return value if is_shallow(value) else MISSING


def refused(constant: str) -> Any:
    """Raise ValueError for NaN and infinities, which Python writes but JSON does not allow."""
    raise ValueError(f"{constant} is not JSON")


def finite(text: str) -> float:
    value = float(text)
    return refused(text) if abs(value) == float("inf") else value


def short(text: str) -> int:
    return refused("a huge integer") if len(text) > MAX_INTEGER else int(text)


def is_shallow(value: Any) -> bool:
    """Return whether a value has no more than MAX_DEPTH levels."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inside = [one for one in level if isinstance(one, dict | list)]
        level = [part for one in inside for part in (one.values() if isinstance(one, dict) else one)]
    return not any(isinstance(one, dict | list) for one in level)
