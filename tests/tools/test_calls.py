"""Messages of a model that cannot be read are texts without calls, whatever is wrong with them."""

import json

import pytest

from gspo_lite.tools.calls import DEEPEST, held_parser


def message(function, kind="function"):
    return {"role": "assistant", "content": "", "tool_calls": [{"type": kind, "function": function}]}


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


def raising(error):
    def parse(*_):
        raise error

    return parse


@pytest.mark.parametrize(
    "parsed",
    [
        {"role": "assistant", "content": "7"},
        {"role": "assistant", "content": "7", "tool_calls": None},
        message({"name": "add", "arguments": {"a": nested(DEEPEST - 4)}}),
        message({"name": "add", "arguments": "no object"}),  # TRL tells the model of these
    ],
)
def test_a_message_that_can_be_read_stays_as_it_is(parsed):
    unread = []
    assert held_parser(lambda ids, prefix: parsed, unread)([1], prefix=[2]) is parsed
    assert unread == []


@pytest.mark.parametrize(
    ("parse", "reason"),
    [
        (raising(RecursionError()), "RecursionError"),
        (raising(KeyError("name")), "KeyError"),
        (lambda ids: json.loads("[" * 10_000), "RecursionError"),
        (lambda ids: json.loads('{"name": '), "JSONDecodeError"),
        (lambda ids: "7", "AttributeError"),
        (lambda ids: None, "AttributeError"),
        (lambda ids: message({"arguments": {}}), "KeyError"),
        (lambda ids: message({"name": 7, "arguments": {}}), "ValueError"),
        (lambda ids: message("add"), "TypeError"),
        (lambda ids: message({"name": "add"}, kind="retrieval"), "ValueError"),
        (lambda ids: {"tool_calls": [{"name": "add", "arguments": {}}]}, "KeyError"),
        (lambda ids: {"tool_calls": 3}, "TypeError"),
        (lambda ids: message({"name": "add", "arguments": {"a": nested(10_000)}}), "ValueError"),
        (lambda ids: message({"name": "\ud800", "arguments": {}}), "UnicodeEncodeError"),
        (lambda ids: message({"name": "add", "arguments": {"a": "\udfff"}}), "UnicodeEncodeError"),
    ],
)
def test_a_message_that_cannot_be_read_is_a_text_to_trl(parse, reason):
    unread = []
    with pytest.raises(ValueError, match="cannot be read"):
        held_parser(parse, unread)([1])
    assert unread == [reason]
