"""Compares JSON values with JSON Schemas. The schema is trusted, the value is not: no comparison can hang a run.

Keywords whose cost can explode over a hostile value (expressions, references, pairs of elements) are compared in a
process with limits; all others at once, here.
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
SIGNALS = 128  # a status from here on says that a signal ended the process
MOST_HANGS = 2  # in one call; after that the rest of it is left unjudged
# Reads [schema, value] per line and writes 1 or 0 for each; what it cannot say, it raises.
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
    """What is wrong with a schema; None for a good one."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for

    try:
        validator_for(schema, Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        return f"not a JSON Schema: {error.message} at `{error.json_path}`"
    for keyword, value in keywords(schema):
        if keyword in REFERENCES and isinstance(value, str) and not resolves(schema, value):
            return f"`{keyword}` is `{value}`; expected a place in this schema, such as `#/$defs/name`"
        expressions = [value] if keyword == "pattern" else list(value) if keyword == "patternProperties" else []
        for expression in expressions:
            problem = expression_problem(expression)
            if problem:
                return problem
    return None


def expression_problem(expression: Any) -> str | None:
    """What is wrong with a regular expression; None for a good one and for a property that is called `pattern`."""
    try:
        re.compile(expression if isinstance(expression, str) else "")
    except re.error as error:
        return f"the expression `{expression}` is broken: {error}"
    return None


def keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    """All keys of a schema and what they hold, at every level."""
    left = [schema]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield from one.items()
        left.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())


def resolves(schema: Any, reference: str) -> bool:
    """Whether a reference points into the schema."""
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
    """A schema of the data, a mapping or JSON text, as canonical text.

    Raises:
        ValueError: for one that cannot be used.
    """
    text = schema if isinstance(schema, str) else json.dumps(schema, sort_keys=True)
    problem = text_problem(text)
    if problem:
        raise ValueError(f"column `schema` is {text[:100]!r}: {problem}")
    return text


@lru_cache(maxsize=1024)
def text_problem(text: str) -> str | None:
    """What is wrong with a schema in JSON text, looked at once."""
    try:
        schema = json.loads(text)
    except ValueError as error:
        return f"not JSON: {error}"
    return schema_problem(schema) if isinstance(schema, dict) else "expected a JSON object"


def fits_all(pairs: Sequence[tuple[str, Any]]) -> list[bool | None]:
    """Whether each value fits its schema, in text as `read_schema` gives it; None for what was not judged in time."""
    verdicts: list[bool | None] = [None if is_costly(schema) else fits(schema, value) for schema, value in pairs]
    rows = [row for row, (schema, _) in enumerate(pairs) if is_costly(schema)]
    for row, verdict in zip(rows, fits_within_limits([pairs[row] for row in rows]), strict=True):
        verdicts[row] = verdict
    return verdicts


@lru_cache(maxsize=1024)
def is_costly(schema: str) -> bool:
    """Whether a hostile value can make this schema's comparison explode."""
    return any(keyword in COSTLY for keyword, _ in keywords(json.loads(schema)))


def fits(schema: str, value: Any) -> bool:
    """Whether a value fits a schema without costly keywords."""
    return bool(validator(schema).is_valid(value))


@lru_cache(maxsize=256)
def validator(schema: str) -> Any:
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    read = json.loads(schema)
    return validator_for(read, Draft202012Validator)(read, registry=Registry())


def fits_within_limits(pairs: Sequence[tuple[str, Any]]) -> list[bool | None]:
    """`fits_all` in a process with limits; a value over which it hangs or dies does not fit.

    Raises:
        RuntimeError: where the process ends in an error.
    """
    verdicts: list[bool | None] = []
    hangs = 0
    while len(verdicts) < len(pairs) and hangs <= MOST_HANGS:
        lines = [f"[{schema_line(schema)}, {json.dumps(value)}]\n" for schema, value in pairs[len(verdicts) :]]
        outcome = run_python(JUDGE, "".join(lines), LIMITS)
        verdicts += [line == "1" for line in outcome.output.split()]
        if outcome.status is None or not 0 <= outcome.status < SIGNALS:
            verdicts.append(False)
            hangs += 1
        elif outcome.status:
            raise RuntimeError(f"the comparison of a schema ended with status {outcome.status}: {lines[-1][:200]}")
    if len(verdicts) < len(pairs):
        logger.warning("json_schema: %d answers left unjudged after %d that hung", len(pairs) - len(verdicts), hangs)
    return verdicts + [None] * (len(pairs) - len(verdicts))


def schema_line(schema: str) -> str:
    """A schema on one line."""
    return json.dumps(json.loads(schema))
