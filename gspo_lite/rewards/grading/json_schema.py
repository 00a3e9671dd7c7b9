"""Compares JSON values with JSON Schemas. The schema is trusted, the value is not: no comparison can hang a run.

Keywords whose cost can explode on a hostile value (regular expressions, references, pairs of elements) are checked in
a process with limits, all others in this one.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from gspo_lite.system.sandbox import Limits, run_python

logger = logging.getLogger(__name__)

COSTLY = {"pattern", "patternProperties", "uniqueItems", "$ref", "$dynamicRef", "$recursiveRef",
          "unevaluatedItems", "unevaluatedProperties"}  # fmt: skip
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
LIMITS = Limits(seconds=5, memory=2**30, output=2**20)
SIGNALS = 128  # exit statuses from here on mean that a signal ended the process
MOST_HANGS = 2  # per call; after that the remaining values are left unjudged
# Reads [schema, value] per line and writes 1 or 0 for each; raises if it cannot decide.
JUDGE = """
import json, sys
from jsonschema.validators import validator_for, Draft202012Validator
from referencing import Registry
for line in sys.stdin:
    schema, value = json.loads(line)
    try:
        fits = validator_for(schema, Draft202012Validator)(schema, registry=Registry()).is_valid(value)
    except (RecursionError, MemoryError):
        fits = False
    print(int(fits), flush=True)
"""


def schema_problem(schema: Any) -> str | None:
    """Return what is wrong with a schema; None if it is valid."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for

    try:
        validator_for(schema, Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        return f"not a JSON Schema: {error.message} at `{error.json_path}`"
    for keyword, value in keywords(schema):
        if keyword in REFERENCES and isinstance(value, str) and not resolves(schema, value):
            return f"`{keyword}` is `{value}`; expected a location in this schema, such as `#/$defs/name`"
        expressions = [value] if keyword == "pattern" else list(value) if keyword == "patternProperties" else []
        for expression in expressions:
            if problem := expression_problem(expression):
                return problem
    return None


def expression_problem(expression: Any) -> str | None:
    """Return what is wrong with a regular expression; None if it is valid or not a text."""
    try:
        re.compile(expression if isinstance(expression, str) else "")  # the schema of a property `pattern` is a dict
    except re.error as error:
        return f"the regular expression `{expression}` is invalid: {error}"
    return None


def keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    """Yield all keys of a schema with their values, at every level."""
    left = [schema]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield from one.items()
        left.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())


def resolves(schema: Any, reference: str) -> bool:
    """Return whether a reference points into the schema."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    if not reference.startswith("#"):
        return False
    root = DRAFT202012.create_resource(schema)
    try:
        Registry().resolver_with_root(root).lookup(reference)
    except Unresolvable:
        return False
    return True


def read_schema(schema: Any) -> str:
    """Return a schema from the data, a mapping or JSON text, as text; raise ValueError if it cannot be used."""
    text = schema if isinstance(schema, str) else json.dumps(schema, sort_keys=True)
    if problem := text_problem(text):
        raise ValueError(f"column `schema` is {text[:100]!r}: {problem}")
    return text


@lru_cache(maxsize=1024)
def text_problem(text: str) -> str | None:
    """Return what is wrong with a schema in JSON text; None if it is valid."""
    try:
        schema = json.loads(text)
    except ValueError as error:
        return f"not JSON: {error}"
    return schema_problem(schema) if isinstance(schema, dict) else "expected a JSON object"


def fits_all(pairs: Sequence[tuple[str, Any]]) -> list[bool | None]:
    """Return whether each value fits its schema (text from `read_schema`); None for values not judged in time."""
    verdicts: list[bool | None] = [None if is_costly(s) else bool(validator(s).is_valid(value)) for s, value in pairs]
    rows = [row for row, (schema, _) in enumerate(pairs) if is_costly(schema)]
    for row, verdict in zip(rows, fits_within_limits([pairs[row] for row in rows]), strict=True):
        verdicts[row] = verdict
    return verdicts


@lru_cache(maxsize=1024)
def is_costly(schema: str) -> bool:
    """Return whether a hostile value can make checking this schema explode."""
    return any(keyword in COSTLY for keyword, _ in keywords(json.loads(schema)))


@lru_cache(maxsize=256)
def validator(schema: str) -> Any:
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    read = json.loads(schema)
    return validator_for(read, Draft202012Validator)(read, registry=Registry())


def fits_within_limits(pairs: Sequence[tuple[str, Any]]) -> list[bool | None]:
    """Judge as `fits_all` does, in a process with limits; a value that makes it hang or crash does not fit."""
    verdicts: list[bool | None] = []
    hangs = 0
    while len(verdicts) < len(pairs) and hangs <= MOST_HANGS:
        lines = [json.dumps([json.loads(schema), value]) + "\n" for schema, value in pairs[len(verdicts) :]]
        outcome = run_python(JUDGE, "".join(lines), LIMITS)
        verdicts += [line == "1" for line in outcome.output.split()]
        if outcome.status is None or not 0 <= outcome.status < SIGNALS:
            verdicts.append(False)
            hangs += 1
        elif outcome.status:
            raise RuntimeError(f"the comparison of a schema ended with status {outcome.status}: {lines[-1][:200]}")
    if len(verdicts) < len(pairs):
        logger.warning("json_schema: %d answers left unjudged after %d hung", len(pairs) - len(verdicts), hangs)
    return verdicts + [None] * (len(pairs) - len(verdicts))
