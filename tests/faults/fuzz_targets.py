"""The table of what is fuzzed: each function with the inputs it gets, their share, and what it may raise."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gspo_lite.cli.shared import printable
from gspo_lite.completion import markers, text
from gspo_lite.completion.thinking import PRESETS, thought_spans
from gspo_lite.errors import RecipeError
from gspo_lite.lab import attempts
from gspo_lite.rewards import choice, code, structured
from gspo_lite.rewards import math as grading
from gspo_lite.rewards.contract import failures
from gspo_lite.rewards.format import follows_form
from gspo_lite.rewards.grading import answers, program_tests, spelling, units
from gspo_lite.system import redaction
from tests.faults import fuzz_calls as calls
from tests.faults.fuzz_inputs import SEEDS, answer, in_tag, mutated, recipe, value
from tests.faults.fuzz_inputs import text as hostile

SCHEMAS = [
    {"type": "object"},
    {"properties": {"n": {"type": "array", "items": {"type": "number"}}}, "required": ["name"]},
]
COSTLY = {"properties": {"name": {"pattern": "^(a+)+$"}}, "uniqueItems": True}
# name, options, columns: rewards of one completion that need no other process
REWARDS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("think_format", {}, {}),
    ("tag_count", {}, {}),
    ("boxed_format", {}, {}),
    ("language_consistency", {"spans": True}, {}),
    ("json_valid", {"marker": "tag"}, {}),
    ("json_valid", {"marker": "fence"}, {}),
    ("json_valid", {"marker": "text"}, {}),
    ("countdown", {}, {"numbers": [1, 2, 3], "target": 9}),
    ("multiple_choice", {}, {"answer": "B", "choices": ["Oslo", "Rome"]}),
    ("multiple_choice", {"marker": "boxed"}, {"answer": "C"}),
    ("json_schema", {}, {"schema": SCHEMAS[0]}),
    ("json_schema", {"marker": "fence"}, {"schema": SCHEMAS[1]}),
    ("numeric_match", {}, {"answer": "1/2"}),
    ("exact_match", {"marker": "gsm8k"}, {"answer": "Paris"}),
    ("soft_overlong", {"max_length": 100, "cache": 20}, {"completion_ids": [1] * 90}),
]
GRADED = {"cosine_length": {"max_length": 50}, "length_penalty": {}}


@dataclass(frozen=True)
class Target:
    """A function under fuzzing.

    Attributes:
        share: of all inputs, relative to the other targets'.
        make: arguments from a random stream; not timed.
        allowed: what may be raised.
        clock: seconds of what does the work: this process, processes that end with the call, or the grader's worker.
    """

    name: str
    share: float
    make: Callable[[random.Random], tuple[Any, ...]]
    call: Callable[..., Any]
    allowed: tuple[type[Exception], ...] = ()
    clock: Callable[[], float] = time.process_time


def targets() -> list[Target]:
    """All of them; the loader and the grader's worker, which take milliseconds, get fewer inputs."""
    redaction.given.add("a-secret-value")
    return [*recipes(), *rewards(), *finding(), *grading_answers(), *structures(), *other()]


def recipes() -> Iterator[Target]:
    calls.prepare()
    yield Target("recipe file", 0.12, lambda rng: (recipe(rng, calls.RECIPES),), calls.load, (RecipeError,))
    change = calls.OVERRIDES
    yield Target(
        "recipe --set", 0.06, lambda rng: (mutated(rng, rng.choice(change), SEEDS),), calls.override, (RecipeError,)
    )


def rewards() -> Iterator[Target]:
    for name, options, columns in REWARDS:
        label = f"reward {name} {options.get('marker', '')}".strip()
        yield Target(label, 1, one, calls.scored(name, options, columns))
    for unit, spans in (("tokens", False), ("words", True)):
        call = calls.scored("repetition_penalty", {"unit": unit, "spans": spans, "ngram": 3}, {})
        yield Target(f"reward repetition_penalty {unit}", 1, with_ids, call)
    columns = {"completion_ids": [1] * 9, "prompts": "a", "answer": 12}
    for name, options in GRADED.items():
        call = calls.scored(name, options, columns)
        yield Target(f"reward {name}", 0.02, near_12, call, clock=time.perf_counter)
    call = calls.scored("json_schema", {}, {"schema": COSTLY})
    make = in_tag(lambda rng: json.dumps(value(rng)))
    yield Target("reward json_schema, costly", 0.002, make, call, clock=calls.with_children)


def finding() -> Iterator[Target]:
    for marker in markers.PLACES:
        yield Target(f"text.answer_spans {marker}", 2, one, lambda t, m=marker: calls.read_at(t, m))
    yield Target("text.completion_text", 1, anything, text.completion_text)
    for own in ({"prefix": "Answer:"}, {"tags": ["<answer>", "</answer>"]}, {"regex": r"(?:answer|=) *(\S+)"}):
        place = text.layout_of(own).marker
        yield Target(f"text.answer_spans {own}", 1, one, lambda t, m=place: calls.read_at(t, m))
    for name in PRESETS:
        yield Target(f"thinking.thought_spans {name}", 0.3, one, lambda t, n=name: thought_spans(t, n))
    yield Target("choice.named", 1, one, lambda t: choice.named(t, ["oslo", "rome"]))
    yield Target("code.program_of", 1, one, code.program_of)
    yield Target("program_tests.read_tests (data)", 0.3, anything, program_tests.read_tests, (ValueError,))
    yield Target(
        "format.follows_form", 1, lambda rng: (hostile(rng), text.Layout(rng.choice(markers.ASKED))), follows_form
    )


def grading_answers() -> Iterator[Target]:
    for marker in markers.PLACES:
        yield Target(f"math.grade {marker}, parent's part", 2, pair, calls.graded(marker))
    short_answer = in_tag(lambda rng: answer(rng)[:1990])
    worker = calls.scored("math_correct", {}, {})
    make = lambda rng: (*short_answer(rng), {"answer": rng.choice(calls.GOLDS)})  # noqa: E731
    yield Target("math.grade, worker and all", 0.2, make, worker, clock=time.perf_counter)
    yield Target("math.gold_text", 1, anything, grading.gold_text)
    yield Target("math.lenient_match", 2, pair, grading.lenient_match)
    yield Target("attempts.hostile (data)", 0.05, question, attempts.hostile)


def structures() -> Iterator[Target]:
    yield Target("spelling.spell", 2, short, lambda t: spelling.squeezed(spelling.spell(t)))
    yield Target("numbers.read_plain", 2, spelled, calls.plain_number)
    yield Target("shapes and units", 2, spelled, calls.looked_into)
    yield Target("units.units_agree", 1, two_units, units.units_agree)
    yield Target("answers.same_answer", 2, spelled_pair, lambda a, gold: answers.same_answer(a, gold, str.__eq__))
    yield Target("structured.json_value", 1, json_or_text, structured.json_value)


def other() -> Iterator[Target]:
    tokenizer = calls.byte_tokenizer()
    yield Target("credit.credit_weights", 1, one, calls.credited)
    yield Target(
        "offsets.token_offsets",
        0.3,
        lambda rng: (calls.sampled(rng, tokenizer),),
        lambda ids: calls.placed(tokenizer, ids),
    )
    yield Target("failures.shortened", 1, one, failures.shortened)
    yield Target("redaction.redact", 1, one, redaction.redact)
    yield Target("cli printable", 1, one, printable)


def one(rng: random.Random) -> tuple[str]:
    return (hostile(rng),)


def short(rng: random.Random) -> tuple[str]:
    return (answer(rng),)


def spelled(rng: random.Random) -> tuple[str]:
    return (spelling.spell(answer(rng)),)


def anything(rng: random.Random) -> tuple[object]:
    return (value(rng),)


def pair(rng: random.Random) -> tuple[str, Any]:
    """A completion with its answer in a marker or nowhere, and a gold, sometimes hostile too."""
    return hostile(rng), rng.choice(calls.GOLDS) if rng.random() < 0.8 else value(rng)


def spelled_pair(rng: random.Random) -> tuple[str, str]:
    gold = str(rng.choice(calls.GOLDS))
    given = rng.choice((answer(rng), mutated(rng, gold, SEEDS)))[: grading.MAX_ANSWER]
    return spelling.spell(given), spelling.spell(gold if rng.random() < 0.8 else answer(rng))


def two_units(rng: random.Random) -> tuple[str, str]:
    return units.read_unit(answer(rng)[:60]) or "", units.read_unit(answer(rng)[:60]) or ""


def with_ids(rng: random.Random) -> tuple[str, dict[str, list[int]]]:
    made = hostile(rng)
    return made, {"completion_ids": [ord(character) % 97 for character in made[:20_000]]}


def near_12(rng: random.Random) -> tuple[str]:
    return (f"<answer>{mutated(rng, '12', SEEDS)}</answer>",)


def question(rng: random.Random) -> tuple[str, Any, str, int]:
    return answer(rng)[:200], rng.choice(calls.GOLDS), text.Layout(), 64


def json_or_text(rng: random.Random) -> tuple[str]:
    return (json.dumps(value(rng)) if rng.random() < 0.5 else hostile(rng),)
