"""JSON that can be read and that fits a schema, and hostile JSON."""

import json
import time

import pytest

from gspo_lite.errors import RewardError, UsageError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.registry import build_rewards, check_columns
from gspo_lite.rewards.grading import json_schema as schemas
from gspo_lite.rewards.structured import json_schema, json_valid


def tag(text):
    return f"<think>so</think><answer>{text}</answer>"


VALID = [
    ('{"a": [1, 2.5, null, true, "x"]}', 1.0, "an object"),
    (' \n{"a": 1}\n ', 1.0, "white space around"),
    ('```json\n{"a": 1}\n```', 1.0, "a block in the tag"),
    ("{}", 1.0, "an empty object"),
    ("[1]", 0.0, "an array where an object is asked for"),
    ("7", 0.0, "a bare number"),
    ("{'a': 1}", 0.0, "a dict of Python"),
    ('{"a": 1,}', 0.0, "a trailing comma"),
    ('{"a": 1} {"b": 2}', 0.0, "two values"),
    ('so {"a": 1}', 0.0, "words around"),
    ('{"a": 1', 0.0, "cut off"),
    ('{"a": NaN}', 0.0, "no number"),
    ('{"a": -Infinity}', 0.0, "an infinity"),
    ('{"a": 1e999}', 0.0, "a number beyond floats"),
    ('{"a": ' + "9" * 5000 + "}", 0.0, "a huge integer"),
    ("", 0.0, "nothing"),
    ("```json\n```", 0.0, "an empty block"),
    ('{"a": ' * 60 + "1" + "}" * 60, 1.0, "sixty levels"),
    ('{"a": ' * 65 + "1" + "}" * 65, 0.0, "too many levels"),
    ('{"a": ' * 9000, 0.0, "nine thousand levels"),
    ("[" * 10**6, 0.0, "a million brackets"),
    ('{"a": "' + "x" * 10**6 + '"}', 0.0, "a million characters"),
    ("{" * 99_000, 0.0, "as many braces as are read"),
    ('"' * 99_999, 0.0, "quotes"),
    ("\\" * 99_999, 0.0, "backslashes"),
    ("```\n" * 24_000, 0.0, "fences"),
]


@pytest.mark.parametrize(("text", "value", "reason"), VALID, ids=[case[2] for case in VALID])
def test_json_valid(text, value, reason):
    began = time.perf_counter()
    assert json_valid([[{"role": "assistant", "content": tag(text)}]]) == [value], reason
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(
    ("options", "text", "value"),
    [
        ({"shape": "any"}, tag("7"), 1.0),
        ({"shape": "any"}, tag("null"), 1.0),
        ({"shape": "any"}, "null", 0.0),
        ({"shape": "array"}, tag("[]"), 1.0),
        ({"shape": "array"}, tag("{}"), 0.0),
        ({"marker": "text"}, "<think>so</think>\n{}", 1.0),
        ({"marker": "text"}, "```json\n{}\n```", 1.0),
        ({"marker": "text"}, "<think>{}", 0.0),
        ({"marker": "fence"}, "so\n```json\n{}\n```\nthere", 1.0),
        ({"marker": "fence"}, "{}", 0.0),
    ],
)
def test_where_the_json_stands_and_what_it_is(options, text, value):
    assert json_valid.with_options(**options)([text]) == [value]


AGE = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}
DATE = {"type": "object", "properties": {"day": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"}}}
TREE = {"$defs": {"node": {"type": "object", "properties": {"left": {"$ref": "#/$defs/node"}}, "required": ["n"]}},
        "$ref": "#/$defs/node"}  # fmt: skip
SCHEMA = [
    (AGE, '{"age": 7}', 1.0, "fits"),
    (AGE, '{"age": "7"}', 0.0, "another type"),
    (AGE, '{"age": -1}', 0.0, "out of range"),
    (AGE, "{}", 0.0, "a key is missing"),
    (AGE, "[7]", 0.0, "an array"),
    (AGE, '{"age": 7', 0.0, "no JSON"),
    (AGE, "", 0.0, "nothing"),
    (AGE, "[" * 10**6, 0.0, "a million brackets"),
    (json.dumps(AGE), '{"age": 7}', 1.0, "a schema in text"),
    ({"type": "null"}, "null", 1.0, "null is a value"),
    ({}, "7", 1.0, "a schema that asks for nothing"),
    ({"multipleOf": 0.1}, "9" * 300, 1.0, "a huge integer against a float"),
    (DATE, '{"day": "2025-02-05"}', 1.0, "an expression"),
    (DATE, '{"day": "5.2.2025"}', 0.0, "an expression that does not match"),
    (TREE, '{"n": 1, "left": {"n": 2}}', 1.0, "a reference"),
    (TREE, '{"n": 1, "left": {}}', 0.0, "a reference that finds a fault"),
    ({"uniqueItems": True}, "[1, 1]", 0.0, "an element twice"),
    (None, '{"age": 7}', None, "no schema"),
    ("", '{"age": 7}', None, "no schema either"),
]


@pytest.mark.parametrize(("schema", "text", "value", "reason"), SCHEMA, ids=[case[3] for case in SCHEMA])
def test_json_schema(schema, text, value, reason):
    message = [{"role": "assistant", "content": tag(text)}]
    assert json_schema([message], schema=[schema]) == [value], reason


def test_one_schema_for_all_rows_needs_no_column():
    made = build_rewards([RewardSettings(name="json_schema", options={"schema": AGE, "marker": "text"})])[0]
    check_columns([made], ["prompt"])
    assert made(completions=['{"age": 7}', "{}"], schema=["not read", "not read"]) == [1.0, 0.0]


def test_a_schema_is_needed_from_somewhere():
    made = build_rewards([RewardSettings(name="json_schema")])
    with pytest.raises(UsageError, match="reads the column `schema`"):
        check_columns(made, ["prompt"])


BAD = [
    ({"type": "integr"}, "not a JSON Schema: 'integr'"),
    ({"properties": {"a": 7}}, r"at `\$.properties.a`"),
    ({"pattern": "("}, "expression|regex"),
    ({"patternProperties": {"(": {}}}, "expression|regex"),
    ({"$ref": "https://example.org/schema.json"}, "expected a location in this schema"),
    ({"$ref": "#/$defs/nothing"}, "expected a location in this schema"),
]


@pytest.mark.parametrize(("schema", "says"), BAD)
def test_a_bad_schema_is_refused_when_the_recipe_is_read_and_named_in_the_data(schema, says):
    with pytest.raises(UsageError, match=f"`schema`: .*({says})"):
        json_schema.with_options(schema=schema)
    made = build_rewards([RewardSettings(name="json_schema")])[0]
    with pytest.raises(RewardError, match=f"row 1: ValueError: column `schema` .*({says})"):
        made(completions=[tag("{}")] * 2, schema=[AGE, schema])


@pytest.mark.parametrize("schema", ["{", "[]", "7", 7])
def test_what_is_no_schema_at_all_is_named(schema):
    with pytest.raises(ValueError, match="column `schema` is"):
        json_schema([tag("{}")], schema=[schema])


def test_a_property_may_be_called_as_a_keyword_is():
    assert json_schema.problems({"schema": {"properties": {"pattern": {"type": "string"}, "$ref": {}}}}) == []


HANGS = ({"type": "string", "pattern": "^(a+)+$"}, '"' + "a" * 40 + '!"')


def test_an_expression_that_hangs_costs_its_row_alone(monkeypatch):
    monkeypatch.setattr(schemas, "LIMITS", schemas.Limits(2.0, 2**30, 2**20))
    rows = [(DATE, '{"day": "2025-02-05"}'), HANGS, (DATE, '{"day": "x"}'), (DATE, "{}")]
    began = time.perf_counter()
    values = json_schema([tag(text) for _, text in rows], schema=[schema for schema, _ in rows])
    assert values == [1.0, 0.0, 0.0, 1.0]
    assert time.perf_counter() - began < 10


def test_many_that_hang_are_left_unjudged_with_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(schemas, "LIMITS", schemas.Limits(1.0, 2**30, 2**20))
    values = json_schema([tag(HANGS[1])] * 6, schema=[HANGS[0]] * 6)
    assert values == [0.0, 0.0, 0.0, None, None, None]
    assert "3 answers left unjudged" in caplog.text


def test_pairs_and_branches_that_explode_cost_no_more(monkeypatch):
    monkeypatch.setattr(schemas, "LIMITS", schemas.Limits(1.0, 2**30, 2**20))
    branch = {"$defs": {"n": {"anyOf": [{"items": {"$ref": "#/$defs/n"}, "minItems": 1, "type": "array"}] * 4}},
              "$ref": "#/$defs/n"}  # fmt: skip
    pairs = json.dumps([[i] if i % 2 else i for i in range(9000)])
    began = time.perf_counter()
    assert json_schema([tag("[" * 60 + "]" * 60), tag(pairs)], schema=[branch, {"uniqueItems": True}])[0] == 0.0
    assert time.perf_counter() - began < 8


def test_elements_that_are_searched_for_among_all_others_cost_no_more(monkeypatch):
    monkeypatch.setattr(schemas, "LIMITS", schemas.Limits(1.0, 2**30, 2**20))
    began = time.perf_counter()
    json_schema([tag(json.dumps([1] * 33_000))], schema=[{"contains": {"type": "integer"}, "unevaluatedItems": False}])
    assert time.perf_counter() - began < 4
