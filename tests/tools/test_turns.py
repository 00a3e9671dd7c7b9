"""The one shape of a conversation with tools."""

from gspo_lite.tools.guarded import ToolCall
from gspo_lite.tools.turns import count_turns, figures_of_tokens, turns_told

CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
MESSAGES = [
    {"role": "assistant", "content": "first", "reasoning_content": "hm", "tool_calls": [CALL, {**CALL, "name": "x"}]},
    {"role": "tool", "name": "add", "content": "2"},
    {"role": "tool", "name": "sub\x1b[2J", "content": [{"type": "text", "text": "no"}, {"type": "image"}]},
    {"role": "assistant", "content": "last"},
]
CALLS = [ToolCall("add", "done", 0.1), ToolCall("sub", "error", 0.1), ToolCall("add", "late", 0.1)]


def test_a_conversation_is_told_turn_by_turn():
    called = {"name": "add", "arguments": {"a": 1}}
    assert turns_told(MESSAGES, CALLS, advantages=[0.5, -1.0], rewards={"steps": [1.0, None]}) == [
        {
            "role": "assistant", "content": "<think>hm</think>first", "calls": [called, called],
            "advantage": 0.5, "rewards": {"steps": 1.0},
        },
        {"role": "tool", "name": "add", "content": "2", "end": "done"},
        {"role": "tool", "name": "sub [2J", "content": "no", "end": "error"},
        {"role": "assistant", "content": "last", "calls": [], "advantage": -1.0, "rewards": {"steps": None}},
    ]  # fmt: skip


def test_outside_training_a_turn_has_no_advantage():
    told = turns_told(MESSAGES, CALLS)
    assert [one["advantage"] for one in told if one["role"] == "assistant"] == [None, None]
    assert count_turns(told) == 2


def test_tokens_and_turns_are_counted_per_episode():
    masks = [[1, 1, 0, 0, 1], [1, 1, 1]]
    assert figures_of_tokens(masks) == {"turns/mean": 1.5, "tokens/own": 3.0, "tokens/foreign": 1.0}
    assert figures_of_tokens([])["tokens/own"] == 0
