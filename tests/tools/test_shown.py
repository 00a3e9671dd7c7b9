from gspo_lite.tools.shown import call_text, lines_of

TURNS = [
    {"role": "assistant", "content": " I look. ", "calls": [{"name": "find", "arguments": {"who": "Zoë", "n": [1]}}]},
    {"role": "tool", "name": "find", "content": "x" * 30, "end": "late"},
    {"role": "assistant", "content": "", "calls": [{"name": "f", "arguments": "not an object"}, {"name": "g"}]},
    {"role": "tool", "name": "f", "content": "no", "end": "done"},
    {"role": "assistant", "content": "7", "calls": []},
]


def test_an_episode_is_written_line_by_line():
    assert list(lines_of(TURNS, 20)) == [
        "I look.", "-> find(who='Zoë', n=[1])", f"<- find (ran out of time): {'x' * 20} ... (10 characters more)",
        "-> f(not an object)", "-> g()", "<- f: no", "7",
    ]  # fmt: skip


def test_a_call_is_written_as_python_would():
    assert (
        call_text({"name": "add", "arguments": {"a": 1, "b": "\x1b\u202e", "c": None}})
        == r"add(a=1, b='\x1b\u202e', c=None)"
    )
