"""Reads the tests of a program in the forms in which data sets hold them, each as a call or as what stdin gives.

    [{"input": "3\\n", "output": "6\\n"}]                   LiveCodeBench, also as JSON text or under `test_cases`
    {"inputs": ["3\\n"], "outputs": ["6\\n"]}               APPS and TACO; with `fn_name` the inputs are arguments
    ["assert double(3) == 6"]                             MBPP

A test never brings code into the program that knows the expected value, so a program cannot read it there.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORMS = "a list of {input: text, output: text}, {inputs: [...], outputs: [...]}, or asserts `f(..) == value`"
INPUTS, OUTPUTS = ("input", "stdin"), ("output", "expected_output", "stdout")
HOLDERS = ("test_cases", "tests")  # keys of a mapping that has the tests beside other things
ON_STDIN = (None, "", "stdin", "stdin_stdout")  # values of `type` and `testtype`
# Both sides become JSON, which turns tuples into lists; the items of a set are sorted.
CALL = """

import json
print(json.dumps({call}, default=lambda value: sorted(map(repr, value)) if hasattr(value, "__iter__") else repr(value)))
"""


@dataclass(frozen=True)
class ProgramTest:
    """A test of a program: what to give it on stdin, or what to call in it, and what has to come out.

    Attributes:
        output: text for stdout, or the value of `call` as JSON.
        wrapped: whether the value may be in a list of its own, as in APPS.
    """

    input: str
    output: str
    call: str | None = None
    wrapped: bool = False

    def program(self, program: str) -> str:
        """Return the program to run for this test."""
        return program if self.call is None else program + CALL.format(call=self.call)

    def passed(self, output: str) -> bool:
        """Return whether this is the right output, apart from white space at the end of lines and of the output."""
        lines = [line.rstrip() for line in output.rstrip().split("\n")]
        if self.call is None:
            return lines == [line.rstrip() for line in self.output.rstrip().split("\n")]
        try:
            found, wanted = json.loads(lines[-1]), json.loads(self.output)  # whatever else the program prints
        except (ValueError, RecursionError):
            return False
        return bool(found == wanted or (self.wrapped and [found] == wanted))


def read_tests(row: Any) -> list[ProgramTest]:
    """Return the tests in a row's column; raise ValueError if it holds anything else."""
    try:
        return listed(row)
    except ValueError as error:
        raise ValueError(f"column `tests` is {str(row)[:100]!r}{error}; expected {FORMS}") from None


def listed(row: Any) -> list[ProgramTest]:
    """Return the tests in a value; raise ValueError with a part of a message."""
    if isinstance(row, str) and not row.lstrip().startswith("assert"):
        row = from_json(row) if row.strip() else None
    if row is None:
        return []
    if isinstance(row, str):
        row = [ast.unparse(statement) for statement in parsed(row)]
    if isinstance(row, Mapping):
        inner = next((row[key] for key in HOLDERS if row.get(key) is not None), None)
        return listed(inner) if inner is not None else paired(row)
    if not isinstance(row, list | tuple):
        raise ValueError("")
    return [asserted(test) if isinstance(test, str) else given(test) for test in row]


def from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(", which is not JSON") from None


def paired(row: Mapping[str, Any]) -> list[ProgramTest]:
    """Return the tests in lists of inputs and outputs."""
    inputs, outputs = (row.get(f"{name}s", row.get(name)) for name in ("input", "output"))
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise ValueError("")
    function = row.get("fn_name")
    if function:
        return [called(function, arguments, value) for arguments, value in zip(inputs, outputs, strict=True)]
    return [ProgramTest(text_of(i), text_of(o)) for i, o in zip(inputs, outputs, strict=True)]


def given(test: Any) -> ProgramTest:
    """Return a test that is a mapping with an input and an output."""
    if not isinstance(test, Mapping):
        raise ValueError("")
    entered, wanted = (next((test[key] for key in keys if key in test), None) for keys in (INPUTS, OUTPUTS))
    if test.get("fn_name"):
        return called(test["fn_name"], entered, wanted)
    if any(test.get(key) not in ON_STDIN for key in ("type", "testtype")):
        raise ValueError(", a test that does not say which function it calls")
    return ProgramTest(text_of(entered), text_of(wanted))


def text_of(value: Any) -> str:
    """Return text for stdin or stdout; a list holds its lines."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError("")


def called(function: Any, arguments: Any, value: Any) -> ProgramTest:
    """Return a test that calls a function, or the method of that name where the program has a class `Solution`."""
    if not isinstance(function, str) or not function.isidentifier() or not isinstance(arguments, list):
        raise ValueError(", whose `fn_name` is not a function or whose inputs are not lists of arguments")
    name = f"(Solution().{function} if 'Solution' in globals() else {function})"
    return ProgramTest("", json.dumps(value), f"{name}(*{arguments!r})", wrapped=True)


def parsed(text: str) -> list[ast.stmt]:
    try:
        return ast.parse(text.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(", which is not Python") from None


def asserted(text: str) -> ProgramTest:
    """Return the test in an assert: what it calls, and the value it compares with."""
    statements = parsed(text)
    test = statements[0].test if len(statements) == 1 and isinstance(statements[0], ast.Assert) else None
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is):
        for side, other in ((test.left, test.comparators[0]), (test.comparators[0], test.left)):
            if isinstance(side, ast.Call):
                return ProgramTest("", json.dumps(literal(other), default=sorted_parts), ast.unparse(side))
    negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    call = test.operand if isinstance(test, ast.UnaryOp) and negated else test
    if isinstance(call, ast.Call):
        return ProgramTest("", json.dumps(not negated), f"bool({ast.unparse(call)})")
    raise ValueError(", an assert of another form, which would run beside the program and could be answered by it")


def literal(node: ast.expr) -> Any:
    """Return the value of a literal; raise ValueError for an expression, which only code could evaluate."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise ValueError(f", which compares with `{ast.unparse(node)[:40]}`, not with a literal value") from None


def sorted_parts(value: Any) -> Any:
    """Return a value that JSON does not have as the program's side writes it."""
    return sorted(map(repr, value)) if hasattr(value, "__iter__") else repr(value)
