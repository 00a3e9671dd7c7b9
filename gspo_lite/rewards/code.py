"""Grades programs by running them, which the recipe has to allow explicitly."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from pydantic import Field

from gspo_lite.completion.markers import ANSWER_TAGS, fence_spans, tag_spans
from gspo_lite.completion.text import text_at
from gspo_lite.completion.thinking import Pair, Thinking, after_thinking
from gspo_lite.rewards.contract.registry import reward
from gspo_lite.rewards.grading.program_tests import ProgramTest, read_tests
from gspo_lite.system.sandbox import Limits, run_python

MAX_PROGRAM = 100_000  # characters
PYTHON = ("python", "python3", "py", "")


def not_trusted(options: dict[str, Any]) -> str | None:
    """Return why this reward cannot be used; None if the recipe allows it."""
    if options["trusted"]:
        return None
    return (
        "option `trusted`: this reward runs Python that a model wrote, with your rights, on this machine; "
        "write `trusted: true` if you want that, preferably in a container without secrets"
    )


def readable(problem: dict[str, Any]) -> None:
    """Raise ValueError if the tests of a problem are in no known form."""
    read_tests(problem.get("tests"))


@reward(check=not_trusted, judges=True, accepts=readable)
def code_execution(
    completions: Sequence[str],
    tests: Sequence[Any],
    *,
    trusted: bool = False,
    partial: bool = False,
    seconds: Annotated[float, Field(ge=0.1, le=60)] = 4.0,
    memory_mb: Annotated[int, Field(ge=64, le=65536)] = 512,
    output_kb: Annotated[int, Field(ge=1, le=65536)] = 256,
    workers: Annotated[int, Field(ge=1, le=64)] = 4,
    thinking: Thinking = "think",
    answer_tags: Pair = ANSWER_TAGS,
) -> list[float | None]:
    """Return 1.0 if the program in a completion passes all tests of its row, else 0.0; with `partial` the share passed.

    The program is the last ```python block after the thinking, or else the text in <answer>..</answer>. The column
    `tests` is a list of `{input: text, output: text}`: the program reads the input from stdin, writes the output to
    stdout and exits with status 0; white space at the end of lines and of the output is ignored. It may also be
    `{inputs: [...], outputs: [...]}` (with `fn_name` the inputs are arguments), asserts like `f(2) == 4`, or any of
    these as JSON. The program never sees what is expected, so its process holds nothing to tamper with. The value is
    None if a row has no tests.

    Off unless `trusted` is true. Each test runs in a separate process, in an empty temporary folder, with `seconds`
    of wall and CPU time, `memory_mb` of address space, `output_kb` of output, no environment variables and, if the
    machine allows namespaces, no network; then its whole process group is killed. This does not make it safe: the
    program can read and change your files. A group takes up to rows * tests * `seconds` / `workers`.
    """
    limits = Limits(seconds, memory_mb * 2**20, output_kb * 2**10)
    cases = [read_tests(row) for row in tests]

    def judged(completion: str, row: list[ProgramTest]) -> float | None:
        return passed(program_of(completion, thinking, answer_tags), row, limits, partial) if row else None

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(judged, completions, cases))


def program_of(completion: str, thinking: Thinking = "think", answer_tags: Pair = ANSWER_TAGS) -> str | None:
    """Return the program in a completion; None without one."""
    spoken = after_thinking(completion, thinking)
    if spoken is None:
        return None
    program = text_at(spoken, fence_spans(spoken, PYTHON) or tag_spans(spoken, answer_tags))
    return program if program and program.strip() and len(program) <= MAX_PROGRAM else None


def passed(program: str | None, tests: list[ProgramTest], limits: Limits, partial: bool) -> float:
    """Return the share of tests a program passes; without `partial` 1.0 or 0.0, stopping at the first failure."""
    count = 0
    for test in tests if program is not None else ():
        outcome = run_python(test.program(program or ""), test.input, limits)
        if outcome.status == 0 and test.passed(outcome.output):
            count += 1
        elif not partial:
            return 0.0
    return count / len(tests)
