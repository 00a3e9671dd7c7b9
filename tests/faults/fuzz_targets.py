"""What is fuzzed: the recipe loader and every function that reads a model's text, each with what it is given.

A target's call may return anything; it may raise only what `allowed` names, which is for data and recipes, never for
text of a model. Where a result has a property that always holds, the call asserts it.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gspo_lite import credit, offsets, redaction
from gspo_lite.cli.shared import printable
from gspo_lite.errors import RecipeError
from gspo_lite.preflight import load_recipe
from gspo_lite.recipe.dump import to_yaml
from gspo_lite.recipe.schema import RegexCredit, TailCredit
from gspo_lite.rewards import answers, attempts, choice, code, contract, numbers, shapes, spelling, structured, text, units
from gspo_lite.rewards import math as grading
from gspo_lite.rewards.format import follows_style
from gspo_lite.rewards.registry import get
from tests.faults.fuzz_inputs import SEEDS, answer, mutated, recipe, value
from tests.faults.fuzz_inputs import text as hostile
from tests.recipe.test_broken_recipes import GOOD

GOLDS = ["12", "1/2", "x=3", "(1,2)", "\\frac{3}{4}", "5 km", "\\{1,2\\}", "2x+1", "[0,\\infty)", 7, 0.5, "#### 42", "Paris", "10%"]
SCHEMAS = [{"type": "object"}, {"properties": {"n": {"type": "array", "items": {"type": "number"}}}, "required": ["name"]}]
COSTLY = {"properties": {"name": {"pattern": "^(a+)+$"}}, "uniqueItems": True}
RECIPES = [GOOD, GOOD[: GOOD.index("rewards")], "a: {b: [1, 2]}\nc: on\n", "rewards: [{name: math_correct}]\n"]
OVERRIDES = ["training.max_steps=4", "rewards.0.weight=1", "output.dir=x", "training.extra={a: 1}", "data.eval.limit=null"]
HOME = Path(tempfile.gettempdir())


@dataclass(frozen=True)
class Target:
    """A function under fuzzing.

    Attributes:
        share: of all inputs, relative to the other targets'.
        make: arguments from a random stream; not timed.
        allowed: what may be raised.
        waits: whether another process does the work.
    """

    name: str
    share: float
    make: Callable[[random.Random], tuple[Any, ...]]
    call: Callable[..., Any]
    allowed: tuple[type[Exception], ...] = ()
    waits: bool = False


def one(rng: random.Random) -> tuple[str]:
    return (hostile(rng),)


def short(rng: random.Random) -> tuple[str]:
    return (answer(rng),)


def pair(rng: random.Random) -> tuple[str, Any]:
    """A completion with its answer in a marker or nowhere, and a gold, sometimes hostile too."""
    return hostile(rng), rng.choice(GOLDS) if rng.random() < 0.8 else value(rng)


def spelled_pair(rng: random.Random) -> tuple[str, str]:
    gold = str(rng.choice(GOLDS))
    given = rng.choice((answer(rng), mutated(rng, gold, SEEDS)))[: grading.MAX_ANSWER]
    return spelling.spell(given), spelling.spell(gold if rng.random() < 0.8 else answer(rng))


def with_ids(rng: random.Random) -> tuple[str, list[int]]:
    made = hostile(rng)
    return made, [ord(c) % 97 for c in made[:20_000]]


def load(content: bytes) -> None:
    """A recipe that is read is the same after being written and read again."""
    path = HOME / "fuzzed.yaml"
    path.write_bytes(content)
    read = load_recipe(str(path), allow_outside=True).recipe
    path.write_text(to_yaml(read, "again"), encoding="utf-8")
    assert load_recipe(str(path), allow_outside=True).recipe == read, "another recipe after writing it"


def override(content: str) -> None:
    load_recipe(str(HOME / "good.yaml"), [content], allow_outside=True)


def scored(name: str, **options: Any) -> Callable[..., Any]:
    """A reward as TRL calls it, on one completion; what it gives is a number in no wide range, or None."""
    made = get(name).with_options(**options)

    def call(completion: Any, **columns: Any) -> Any:
        found = made([completion], **{key: [column] for key, column in columns.items()})
        assert len(found) == 1, found
        worth = getattr(found[0], "value", found[0])
        assert worth is None or -10 <= worth <= 2, worth
        for start, end, weight in getattr(found[0], "spans", None) or ():
            assert 0 <= start < end <= len(completion), (start, end)
            assert 0 <= weight <= 1, weight
        return worth

    return call


def graded(marker: str) -> Callable[..., Any]:
    """The answer itself is right where it can be graded at all, and the quick verdict is a truth value or none."""

    def call(completion: str, gold: Any) -> None:
        read = grading.to_compare(completion, gold, marker)
        assert isinstance(read, tuple | bool | None), read
        if isinstance(read, tuple):
            assert grading.quick_verdict(*read) in (True, False, None)

    return call


def looked_into(found: str) -> None:
    """All that reads the shape of an answer."""
    for look in (shapes.parts_of, shapes.without_label, shapes.Bracketed.read, shapes.region_of, shapes.rows_of,
                 shapes.without_unit, shapes.is_text, shapes.has_words, shapes.folded, units.canonical_unit,
                 units.is_known_unit, spelling.squeezed):  # fmt: skip
        look(found)


def plain_number(found: str) -> None:
    read = numbers.read_plain(found)
    assert read is None or numbers.same(read, read), "not equal to itself"


def credited(made: str) -> None:
    """Spans lie in the text, and weights in [0, 1]."""
    places = [(at, at + 1) for at in range(min(len(made), 300))]
    for setting in ("all", "answer", "think", "tags", TailCredit(tail=3), RegexCredit(regex="[0-9]+")):
        weights = credit.credit_weights(setting, made, places)
        assert len(weights) == len(places)
        assert all(0 <= weight <= 1 for weight in weights)


def placed(tokenizer: Any) -> Callable[[list[int]], None]:
    """Characters of sampled tokens cover the text they decode to."""

    def call(ids: list[int]) -> None:
        shown = tokenizer.decode(ids, skip_special_tokens=True)
        found = offsets.token_offsets(tokenizer, ids, shown)
        assert found == sorted(found)
        assert {at for start, end in found for at in range(start, end)} == set(range(len(shown)))

    return call


def byte_tokenizer() -> Any:
    """Byte-level tokens of one byte each and one of two, as sampled: any order, so any broken character."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate([*letters, "Ã©", "<eos>"])}, merges=[("Ã", "©")]))
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>")


def targets() -> list[Target]:
    """All of them; the loader and the grader's worker, which take milliseconds, get fewer inputs."""
    (HOME / "good.yaml").write_text(GOOD)
    tokenizer = byte_tokenizer()
    redaction.given.add("a-secret-value")
    rewards = [
        ("think_format", {}, one), ("tag_count", {}, one), ("boxed_format", {}, one), ("language_consistency", {"spans": True}, one),
        ("json_valid", {"marker": "tag"}, one), ("json_valid", {"marker": "fence"}, one), ("json_valid", {"marker": "text"}, one),
    ]  # fmt: skip
    columns: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("countdown", {}, {"numbers": [1, 2, 3], "target": 9}), ("multiple_choice", {}, {"answer": "B", "choices": ["Oslo", "Rome"]}),
        ("multiple_choice", {"marker": "boxed"}, {"answer": "C"}), ("json_schema", {}, {"schema": SCHEMAS[0]}),
        ("json_schema", {"marker": "fence"}, {"schema": SCHEMAS[1]}), ("numeric_match", {}, {"answer": "1/2"}),
        ("exact_match", {"marker": "gsm8k"}, {"answer": "Paris"}),
        ("soft_overlong", {"max_length": 100, "cache": 20}, {"completion_ids": [1] * 90}),
    ]  # fmt: skip
    found = [Target(f"reward {name} {options.get('marker', '')}", 1, make, scored(name, **options)) for name, options, make in rewards]
    found += [
        Target(f"reward {name} {options.get('marker', '')}", 1, one, lambda t, f=scored(name, **options), c=given: f(t, **c))
        for name, options, given in columns
    ]
    for unit, spans in (("tokens", False), ("words", True)):
        call = scored("repetition_penalty", unit=unit, spans=spans, ngram=3)
        found.append(Target(f"reward repetition_penalty {unit}", 1, with_ids, lambda t, ids, f=call: f(t, completion_ids=ids)))
    worker = scored("math_correct")
    lengths = (scored("cosine_length", max_length=50), scored("length_penalty"))
    return [
        Target("recipe file", 0.12, lambda rng: (recipe(rng, RECIPES),), load, (RecipeError,)),
        Target("recipe --set", 0.06, lambda rng: (mutated(rng, rng.choice(OVERRIDES), SEEDS),), override, (RecipeError,)),
        *found,
        *(Target(f"text.find_answer {marker}", 2, one, lambda t, m=marker: text.find_answer(t, m)) for marker in text.MARKERS),
        Target("text.completion_text", 1, lambda rng: (value(rng),), text.completion_text),
        Target("text.fenced", 1, one, lambda t: text.fenced(t, ("json", ""))),
        *(Target(f"math.grade {marker}, parent's part", 2, pair, graded(marker)) for marker in text.MARKERS),
        Target("math.grade, worker and all", 0.05, lambda rng: (f"<answer>{answer(rng)[:1990]}</answer>", rng.choice(GOLDS)),
               lambda t, gold: worker(t, answer=gold), waits=True),
        *(Target(f"reward {name}", 0.02, lambda rng: (f"<answer>{mutated(rng, '12', SEEDS)}</answer>", 12),
                 lambda t, gold, f=f: f(t, answer=gold, completion_ids=[1] * 9, prompts="a"), waits=True)
          for name, f in zip(("cosine_length", "length_penalty"), lengths, strict=True)),
        Target("math.gold_text", 1, lambda rng: (value(rng),), grading.gold_text),
        Target("math.lenient_match", 2, pair, grading.lenient_match),
        Target("spelling.spell", 2, short, lambda t: spelling.squeezed(spelling.spell(t))),
        Target("numbers.read_plain", 2, lambda rng: (spelling.spell(answer(rng)),), plain_number),
        Target("shapes and units", 2, lambda rng: (spelling.spell(answer(rng)),), looked_into),
        Target("units.units_agree", 1, lambda rng: (answer(rng)[:100], answer(rng)[:100]),
               lambda a, b: units.units_agree(units.canonical_unit(a), units.canonical_unit(b))),
        Target("answers.same_answer", 2, spelled_pair, lambda a, gold: answers.same_answer(a, gold, str.__eq__)),
        Target("choice.named", 1, one, lambda t: choice.named(t, ["oslo", "rome"])),
        Target("code.program_of", 1, one, code.program_of),
        Target("code.tests_of (data)", 0.3, lambda rng: (value(rng),), code.tests_of, (ValueError,)),
        Target("structured.json_value", 1, lambda rng: (json.dumps(value(rng)) if rng.random() < 0.5 else hostile(rng),),
               structured.json_value),
        Target("reward json_schema, costly", 0.002, lambda rng: (f"<answer>{json.dumps(value(rng))}</answer>",),
               lambda t, f=scored("json_schema"): f(t, schema=COSTLY), waits=True),
        Target("format.follows_style", 1, lambda rng: (hostile(rng), rng.choice(("think_answer", "boxed", "plain"))), follows_style),
        Target("attempts.hostile (data)", 0.05, lambda rng: (answer(rng)[:200], rng.choice(GOLDS), "tag", 64), attempts.hostile),
        Target("contract.shortened", 1, one, contract.shortened),
        Target("credit.credit_weights", 1, one, credited),
        Target("offsets.token_offsets", 0.3, lambda rng: (rng.choices(range(len(tokenizer)), k=rng.randint(0, 80)),), placed(tokenizer)),
        Target("redaction.redact", 1, one, redaction.redact),
        Target("cli printable", 1, one, printable),
    ]  # fmt: skip
