"""Tests of programs in the forms of data sets: which are read, which programs pass, and what is refused."""

import json

import pytest

from gspo_lite.rewards.code import code_execution
from gspo_lite.rewards.grading.program_tests import ProgramTest, read_tests

ON_STDIN = [ProgramTest("3\n", "6\n"), ProgramTest("-4", "-8")]
PAIRS = [{"input": "3\n", "output": "6\n"}, {"input": "-4", "output": "-8"}]
LISTS = {"inputs": ["3\n", "-4"], "outputs": ["6\n", "-8"]}
FORMS = [
    ("a list of inputs and outputs", PAIRS),
    ("JSON text", json.dumps(PAIRS)),
    ("lists of inputs and outputs", LISTS),
    ("lists in JSON text", json.dumps(LISTS)),
    ("lists in the singular", {"input": LISTS["inputs"], "output": LISTS["outputs"]}),
    ("no function", {**LISTS, "fn_name": None}),
    ("with a type", [{**test, "type": "stdin_stdout", "fn_name": None} for test in PAIRS]),
    ("with a test type", [{**test, "testtype": "stdin"} for test in PAIRS]),
    ("under test_cases", {"language": "python", "test_cases": PAIRS}),
    ("test_cases in JSON text", json.dumps({"language": "python", "test_cases": json.dumps(PAIRS)})),
    ("names of streams", [{"stdin": test["input"], "stdout": test["output"]} for test in PAIRS]),
    ("expected output", [{"input": test["input"], "expected_output": test["output"]} for test in PAIRS]),
]


@pytest.mark.parametrize("form", [case[1] for case in FORMS], ids=[case[0] for case in FORMS])
def test_every_form_is_read_as_the_same_tests(form):
    assert read_tests(form) == ON_STDIN


@pytest.mark.parametrize("nothing", [None, "", " ", [], "[]", {"inputs": [], "outputs": []}])
def test_a_row_may_have_no_tests(nothing):
    assert read_tests(nothing) == []


def test_lines_and_numbers_become_text():
    assert read_tests({"inputs": [["3", "4"], 5], "outputs": [7, ["5"]]}) == [
        ProgramTest("3\n4", "7"), ProgramTest("5", "5"),
    ]  # fmt: skip


DOUBLE = "def f(x):\n    return 2 * x"
SOLUTION = "class Solution:\n    def f(self, x):\n        return 2 * x"
CALLS = [
    (["assert f(3) == 6", "assert f(-4) == -8"], DOUBLE, 1.0, "asserts"),
    ("assert f(3) == 6\nassert f(-4) == -8", DOUBLE, 1.0, "asserts in one text"),
    (["assert 6 == f(3), 'six'"], DOUBLE, 1.0, "the value first, with a message"),
    (["assert f('ab') == 'abab'"], DOUBLE, 1.0, "texts"),
    (["assert f([1]) == [1, 1]"], DOUBLE, 1.0, "lists"),
    (["assert f((1,)) == (1, 1)"], DOUBLE, 1.0, "tuples"),
    (["assert f(3) == 6"], f"{DOUBLE}\nprint('checked', f(1))", 1.0, "a program that prints"),
    (["assert f(3)"], "def f(x):\n    return x > 2", 1.0, "a truth"),
    (["assert not f(1)"], "def f(x):\n    return x > 2", 1.0, "an untruth"),
    (["assert not f(3)"], "def f(x):\n    return x > 2", 0.0, "the wrong truth"),
    (["assert f(3) is True"], "def f(x):\n    return x > 2", 1.0, "is True"),
    (["assert f('aab') == {'a', 'b'}"], "f = set", 1.0, "a set"),
    (["assert f(3) == {'a': [1, 2.5, None]}"], "def f(x):\n    return {'a': [1, 2.5, None]}", 1.0, "a mapping"),
    (["assert f(3) == 6"], "def f(x):\n    return x", 0.0, "a wrong function"),
    (["assert f(3) == 6"], "def g(x):\n    return 6", 0.0, "another name"),
    (["assert f(3) == 6"], f"{DOUBLE}\nimport os\nos._exit(0)", 0.0, "an end before the call"),
    (["assert f(3) == 6"], "class Same(int):\n    def __eq__(self, other):\n        return True\n"
     "def f(x):\n    return Same(1)", 0.0, "a value that equals everything"),
    (["assert f(3) == 6"], "class Same:\n    def __eq__(self, other):\n        return True\n"
     "f = lambda x: Same()", 0.0, "an object that equals everything"),
    ({"fn_name": "f", "inputs": [[3], [-4]], "outputs": [6, -8]}, DOUBLE, 1.0, "a function"),
    ({"fn_name": "f", "inputs": [[3]], "outputs": [[6]]}, DOUBLE, 1.0, "a function, its value wrapped"),
    ({"fn_name": "f", "inputs": [[[3]]], "outputs": [[3, 3]]}, DOUBLE, 1.0, "a function of a list"),
    ({"fn_name": "f", "inputs": [[[1]]], "outputs": [[1]]}, "f = list", 1.0, "a list of one value, not wrapped"),
    ({"fn_name": "f", "inputs": [[3]], "outputs": [6]}, SOLUTION, 1.0, "a method"),
    ([{"fn_name": "f", "input": [3], "output": 6, "type": "function_call"}], DOUBLE, 1.0, "a function in each test"),
    ({"fn_name": "f", "inputs": [[3]], "outputs": [7]}, DOUBLE, 0.0, "a wrong value"),
]  # fmt: skip


@pytest.mark.parametrize(("tests", "program", "value", "reason"), CALLS, ids=[case[3] for case in CALLS])
def test_a_program_is_called(tests, program, value, reason):
    made = code_execution.with_options(trusted=True, seconds=10.0)
    assert made([f"```python\n{program}\n```"], tests=[tests]) == [value], reason


REFUSED = [
    ("7", "expected a list"),
    (7, "expected a list"),
    (["assert f(1) < 2"], "an assert of another form"),
    (["assert f(1) == g(1)"], "compares with `g(1)`, not with a literal value"),
    (["f(1)"], "an assert of another form"),
    (["assert f(1) ="], "which is not Python"),
    (["x = 1\nassert f(x) == 1"], "an assert of another form"),
    ("def check(candidate):\n    assert candidate(1) == 2", "which is not JSON"),
    ([{"input": "1"}], "expected a list"),
    ([{"input": {}, "output": "1"}], "expected a list"),
    ({"inputs": ["1"], "outputs": []}, "expected a list"),
    ({"fn_name": "os.system", "inputs": [["ls"]], "outputs": [0]}, "whose `fn_name` is not a function"),
    ({"fn_name": "f", "inputs": ["1"], "outputs": [0]}, "whose inputs are not lists of arguments"),
    ([{"input": "1", "output": "2", "testtype": "functional"}], "does not say which function it calls"),
    ([True], "expected a list"),
    ("[" * 100_000, "which is not JSON"),
]


@pytest.mark.parametrize(("tests", "says"), REFUSED, ids=[str(case[0])[:40] for case in REFUSED])
def test_what_cannot_be_judged_is_refused(tests, says):
    with pytest.raises(ValueError, match="column `tests` is ") as caught:
        read_tests(tests)
    assert says in str(caught.value)
