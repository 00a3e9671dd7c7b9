"""How each fuzzed function is called, and what always has to hold of its result."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from gspo_lite import credit
from gspo_lite.checked_recipe import load_recipe
from gspo_lite.completion import offsets
from gspo_lite.completion import text as reading
from gspo_lite.completion.text import Layout
from gspo_lite.recipe.dump import to_yaml
from gspo_lite.recipe.schema import RegexCredit, TailCredit
from gspo_lite.rewards import math as grading
from gspo_lite.rewards.contract.registry import get
from gspo_lite.rewards.grading import bases, choices, kinds, matrices, numbers, regions, shapes, spelling, units
from tests.recipe.test_broken_recipes import GOOD

GOLDS = [
    "12", "1/2", "x=3", "(1,2)", "\\frac{3}{4}", "5 km", "\\{1,2\\}", "2x+1", "[0,\\infty)", 7, 0.5, "#### 42",
    "Paris", "10%",
]  # fmt: skip
RECIPES = [GOOD, GOOD[: GOOD.index("rewards")], "a: {b: [1, 2]}\nc: on\n", "rewards: [{name: math_correct}]\n"]
OVERRIDES = [
    "training.max_steps=4", "rewards.0.weight=1", "output.dir=x", "training.extra={a: 1}", "data.eval.limit=null",
]  # fmt: skip


def prepare() -> None:
    """Write the recipe that `--set` changes."""
    path("good").write_text(GOOD)


def path(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"{name}.yaml"


def with_children() -> float:
    """CPU seconds of this process and of those it has waited for."""
    return sum(os.times()[:4])


def load(content: bytes) -> None:
    """A recipe that is read is the same after being written and read again."""
    file = path("fuzzed")
    file.write_bytes(content)
    read = load_recipe(str(file), allow_outside=True).recipe
    file.write_text(to_yaml(read, "again"), encoding="utf-8")
    assert load_recipe(str(file), allow_outside=True).recipe == read, "another recipe after writing it"


def override(content: str) -> None:
    load_recipe(str(path("good")), [content], allow_outside=True)


def scored(name: str, options: dict[str, Any], columns: dict[str, Any]) -> Callable[..., Any]:
    """A reward as TRL calls it, on one completion; what it gives is a number in no wide range, or None."""
    made = get(name).with_options(**options)

    def call(completion: Any, more: dict[str, Any] | None = None) -> Any:
        found = made([completion], **{key: [column] for key, column in (columns | (more or {})).items()})
        assert len(found) == 1, found
        worth = getattr(found[0], "value", found[0])
        assert worth is None or -10 <= worth <= 2, worth
        for start, end, weight in getattr(found[0], "spans", None) or ():
            assert 0 <= start < end <= len(completion), (start, end)
            assert 0 <= weight <= 1, weight

    return call


def graded(marker: str) -> Callable[..., Any]:
    """The answer itself is right where it can be graded at all, and the quick verdict is a truth value or none."""

    def call(completion: str, gold: Any) -> None:
        read = grading.to_compare(completion, gold, Layout(marker))
        assert isinstance(read, tuple | bool | None), read
        if isinstance(read, tuple):
            assert grading.quick_verdict(*read) in (True, False, None)

    return call


def read_at(made: str, marker: str) -> None:
    """The answer is what stands at its spans, in order, and credit is about the same characters."""
    spans = reading.answer_spans(made, marker)
    assert all(0 <= start <= end <= len(made) for start, end in spans), spans
    assert all(first[1] < second[0] for first, second in pairwise(spans)), spans
    assert reading.find_answer(made, marker) == (", ".join(made[start:end] for start, end in spans) or None)
    assert [(*span, 1.0) for span in spans if span[0] < span[1]] == credit.credit_spans("answer", made, Layout(marker))


def looked_into(found: str) -> None:
    """All that reads the shape of an answer."""
    for look in (
        shapes.parts_of,
        shapes.assignments,
        shapes.without_label,
        shapes.Bracketed.read,
        shapes.without_unit,
        shapes.is_text,
        shapes.has_words,
        shapes.folded,
        regions.region_of,
        regions.all_but,
        regions.unfolded,
        regions.contradictory,
        matrices.rows_of,
        matrices.vector_of,
        bases.based_of,
        choices.choice_of,
        units.read_unit,
        units.is_known_unit,
        spelling.squeezed,
        *(kind.read for kind in kinds.KINDS),
    ):
        look([found] if look is shapes.assignments else found)  # type: ignore[operator]


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


def placed(tokenizer: Any, ids: list[int]) -> None:
    """Characters of sampled tokens cover the text they decode to."""
    shown = tokenizer.decode(ids, skip_special_tokens=True)
    found = offsets.token_offsets(tokenizer, ids, shown)
    assert found == sorted(found)
    assert {at for start, end in found for at in range(start, end)} == set(range(len(shown)))


def byte_tokenizer() -> Any:
    """Byte-level tokens of one byte each and one of two, as sampled: any order, so any broken character."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(
        models.BPE(vocab={letter: at for at, letter in enumerate([*letters, "Ã©", "<eos>"])}, merges=[("Ã", "©")])
    )
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>")


def sampled(rng: random.Random, tokenizer: Any) -> list[int]:
    """Any tokens, the last of them perhaps the one that ends a completion."""
    end = tokenizer.eos_token_id
    return [*rng.choices(range(end), k=rng.randint(0, 80)), *[end] * rng.randint(0, 1)]
